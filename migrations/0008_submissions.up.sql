-- Batches of journaled jobs on their way to Dragonfly: their rows are committed before they are added there.

create table job_submissions (
    id       uuid        primary key,
    jobs     uuid[]      not null,
    begun_at timestamptz not null default clock_timestamp(),
    -- The transaction that wrote the rows of its jobs, as their `xmin` tells it.
    written  xid         not null default pg_current_xact_id()::xid
)
-- A row comes and goes with every batch: what is left of them is cleaned up by number, not by share.
with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

comment on table job_submissions is
    'one row per batch of journaled jobs that a client is adding to Dragonfly; a worker''s sweeper leaves an old one''s jobs to the relay';
