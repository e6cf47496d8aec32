-- What became of every job: one committed result per id, and a mirror of the dead letters for filtering.

create table job_results (
    id           uuid primary key,
    queue        text        not null,
    kind         text        not null,
    user_id      text,
    attempt      integer     not null,
    result       jsonb,
    worker       text        not null,
    queued_at    timestamptz not null,
    started_at   timestamptz not null,
    finished_at  timestamptz not null,
    committed_at timestamptz not null default now()
);

comment on table job_results is 'one row per job that is done; the first writer wins';

create index job_results_kind on job_results (kind, committed_at);

create table dead_jobs (
    id          uuid primary key,
    queue       text        not null,
    partition   text        not null,
    kind        text        not null,
    user_id     text,
    status      text        not null check (status in ('failed', 'dead')),
    class       text        not null,
    error       text        not null,
    attempt     integer     not null,
    letter      bytea       not null,
    traceparent text,
    died_at     timestamptz not null default now(),
    redriven_at timestamptz
);

comment on table dead_jobs is 'mirror of the dead letters in Dragonfly; a row goes when the job is done after all, or purged';

create index dead_jobs_open on dead_jobs (queue, died_at) where redriven_at is null;
