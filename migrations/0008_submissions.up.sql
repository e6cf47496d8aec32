-- Batches of journaled jobs on their way to Dragonfly: their rows are committed before they are added there.

create table job_submissions (
    id       uuid        primary key,
    jobs     uuid[]      not null,
    begun_at timestamptz not null default clock_timestamp()
);

comment on table job_submissions is
    'one row per batch of journaled jobs that a client is adding to Dragonfly; a worker''s sweeper leaves an old one''s jobs to the relay';
