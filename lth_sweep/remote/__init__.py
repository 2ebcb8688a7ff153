"""A runs folder kept in an object store, s3://BUCKET/PREFIX: stages, leases, and the mirror that a sweep works in."""
