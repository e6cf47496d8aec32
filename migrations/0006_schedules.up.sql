-- Jobs that are due again and again.

create table schedules (
    name       text primary key,
    kind       text        not null,
    queue      text        not null,
    payload    jsonb       not null default '{}',
    user_id    text,
    priority   smallint    not null default 2 check (priority between 1 and 3),
    cron       text        not null,
    zone       text        not null default 'UTC',
    missed     text        not null default 'once',
    paused     boolean     not null default false,
    problem    text,
    next_at    timestamptz not null,
    last_slot  timestamptz,
    n_fired    bigint      not null default 0,
    n_skipped  bigint      not null default 0,
    created_at timestamptz not null default now()
);

comment on table schedules is 'one row a schedule; the transaction that moves next_at on inserts the slot''s job into job_journal';
comment on column schedules.priority is '1 high, 2 normal, 3 low';
comment on column schedules.missed is 'skip, once or all:N: what becomes of slots that passed while no worker ran';
comment on column schedules.problem is 'why a worker paused it';

create index schedules_due on schedules (next_at) where not paused;
