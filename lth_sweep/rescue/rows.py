"""What became of each remedy: the rows of the answer, from the records of a rescue's two sweeps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lth_sweep.lottery.records import Level
from lth_sweep.rescue import sheets
from lth_sweep.rescue.effects import Effect, effect, is_match
from lth_sweep.rescue.examine import Examination
from lth_sweep.rescue.ladder import CLOSE
from lth_sweep.rescue.patient import Patient
from lth_sweep.rescue.remedies import Remedy
from lth_sweep.rescue.result import Row
from lth_sweep.search.trial import TrialRecord


@dataclass(frozen=True)
class Judge:
    """Compares trials with the patient, at its density."""

    patient: Patient
    seen: Examination

    def ticket(self, trial: TrialRecord) -> Level | None:
        """The pruned level, trained to its end, whose density is nearest, by ratio; None where the ladder did not come
        down to the density."""
        wanted = self.patient.density
        pruned = [level for level in trial.levels[1:] if level.finished and all(record.density > 0 for record in level)]
        found = min(pruned, key=lambda level: abs(math.log(level.density / wanted)), default=None)
        return found if found and found.density <= wanted * CLOSE else None

    def is_match(self, trial: TrialRecord, dense: Level) -> bool:
        ticket = self.ticket(trial)
        return ticket is not None and is_match(ticket, trial.levels[0], dense, self.patient.spec.objective)

    def first(self, tried: Sequence[Remedy], trials: Sequence[TrialRecord]) -> list[Row]:
        """A row for each remedy, by its trial on the patient's seeds, where there is one."""
        known = {trial.picks["remedy"]: trial for trial in trials}
        rows = []
        for remedy in tried:
            if trial := known.get(remedy.name):
                found = self._effect(trial, self.seen.ticket, self.seen.dense, len(tried), fresh=False)
                rows.append(_row(remedy, trial, first=found))
            else:
                rows.append(Row(remedy))
        return rows

    def with_fresh(self, rows: Sequence[Row], chosen: Sequence[Remedy], trials: Sequence[TrialRecord]) -> list[Row]:
        """The rows with what fresh seeds say about them, and rows for the combinations."""
        if not trials or not trials[0].answers:
            return list(rows)
        patient, *others = trials
        dense, ticket = patient.levels[0], self.ticket(patient) or patient.levels[-1]
        most = sheets.TRIALS[len(chosen)] - 1
        result = {row.remedy.name: row for row in rows}
        for trial in others:
            on = [remedy for remedy in chosen if trial.picks[remedy.name] == sheets.ON]
            found = self._effect(trial, ticket, dense, most, fresh=True)
            if len(on) == 1:
                row = result[on[0].name]
                trained, reused = row.steps_trained + trial.steps_trained, row.steps_reused + trial.steps_reused
                if row.fresh is None:
                    result[on[0].name] = replace(row, fresh=found, steps_trained=trained, steps_reused=reused)
            elif on:
                several = _together(on)
                result.setdefault(several.name, _row(several, trial, fresh=found))
        return list(result.values())

    def _effect(self, trial: TrialRecord, patient: Level, dense: Level, remedies: int, *, fresh: bool) -> Effect | None:
        ticket = self.ticket(trial)
        if ticket is None or not trial.answers or len(ticket) < len(dense):
            return None
        objective, examples = self.patient.spec.objective, self.seen.examples
        return effect(ticket, trial.levels[0], patient, dense, objective, examples, remedies=remedies, fresh=fresh)


def _together(remedies: Sequence[Remedy]) -> Remedy:
    causes = tuple(dict.fromkeys(cause for remedy in remedies for cause in remedy.causes))
    return Remedy(" + ".join(one.name for one in remedies), " and ".join(one.words for one in remedies),
                  sheets.merged(remedies), causes, "each was better than the patient alone")  # fmt: skip


def _row(remedy: Remedy, trial: TrialRecord, **effects: Effect | None) -> Row:
    reason = ""
    if not any(effects.values()):
        reason = trial.reason or ("it did not come down to the density" if trial.answers else "interrupted")
    number = trial.number if "first" in effects else None
    return Row(remedy, trial=number, steps_trained=trial.steps_trained, steps_reused=trial.steps_reused,
               reason=reason, **effects)  # fmt: skip
