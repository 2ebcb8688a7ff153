"""A sweep in MLflow. Importing this is cheap: mlflow itself is imported by the thread that writes to it."""

from lth_sweep.tracking.listener import MlflowListener, note_on_sweep
from lth_sweep.tracking.store import Place, locate
from lth_sweep.tracking.ui import serve_ui

__all__ = ["MlflowListener", "Place", "locate", "note_on_sweep", "serve_ui"]
