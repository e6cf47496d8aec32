-- What operators decide about queues, and jobs that were taken back.

create table queue_policies (
    queue      text primary key,
    policy     jsonb       not null check (jsonb_typeof(policy) = 'object'),
    changed_at timestamptz not null default now()
);

comment on table queue_policies is 'what an operator decided about a queue; workers copy it to Dragonfly again and again';

-- First writer wins: a job that is cancelled has its one result, and a handler that ends later loses.
alter table job_results add column status text not null default 'done' check (status in ('done', 'cancelled'));
