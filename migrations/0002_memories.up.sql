-- What users want remembered, what became of it, and the table that carries the approximate index.
--
-- The vector columns are not here: their type and dimension are settings, so they are added when the service starts.

create extension if not exists vector;

create table memories (
    id           uuid primary key,
    user_id      text        not null,
    content      text        not null,
    content_hash bytea       not null,
    model        text        not null,
    metadata     jsonb       not null default '{}',
    importance   real        not null default 0.5 check (importance between 0 and 1),
    run_id       text,
    agent_id     text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    expires_at   timestamptz,
    unique (user_id, content_hash)
);

comment on table memories is 'one row per user and distinct text';

create index memories_by_user on memories (user_id, created_at desc);

create table memory_history (
    id          bigint generated always as identity primary key,
    memory_id   uuid        not null,
    user_id     text        not null,
    event       text        not null check (event in ('created', 'updated', 'evicted', 'deleted')),
    old_content text,
    happened_at timestamptz not null default now()
);

comment on table memory_history is 'what happened to memories; old_content is what an update or a removal took away';

create index memory_history_by_user on memory_history (user_id, memory_id);

create table memory_vectors (
    memory_id uuid primary key,
    user_id   text not null
);

comment on table memory_vectors is
    'copies of the memories'' vectors under the HNSW index, kept up by the indexer. '
    'No foreign key: a cascade would make removals wait while the index is built; memories_to_index says what to remove';

create table memories_to_index (
    memory_id uuid primary key
);

comment on table memories_to_index is 'memories whose entry in memory_vectors is missing, out of date or to be removed';

create function memories_removed() returns trigger language plpgsql as $$
begin
    insert into memories_to_index (memory_id) select id from removed order by id
    on conflict (memory_id) do update set memory_id = excluded.memory_id;
    return null;
end
$$;

create trigger memories_removed after delete on memories
    referencing old table as removed for each statement execute function memories_removed();
