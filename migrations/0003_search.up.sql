-- What was searched and found, the places that are searched by meaning, and what warming did.

create extension if not exists vector;

create table search_results (
    job_id      uuid primary key,
    namespace   text        not null,
    params      jsonb       not null,
    params_hash text        not null,
    user_id     text,
    n_results   integer     not null,
    cache       text        not null check (cache in ('hit', 'stale', 'miss', 'off')),
    took_ms     real        not null,
    created_at  timestamptz not null default now()
);

comment on table search_results is 'one row a search that was answered; what is popular is read from it';

create index search_results_popular on search_results (namespace, created_at);

create table places (
    id           text primary key,
    name         text not null,
    kind         text not null check (kind in ('city', 'airport')),
    country_code text not null,
    description  text not null,
    model        text not null
);

comment on table places is
    'copy of the built-in places for searches by meaning. The column embedding and its index places_by_meaning are added '
    'when the table is loaded: dimension and model are settings. The index exists only while the table is whole';

create index places_by_country on places (country_code);

create table cache_warm_runs (
    id            uuid primary key,
    requested     integer     not null,
    popular       integer     not null,
    warmed        integer     not null,
    already_fresh integer     not null,
    failed        integer     not null,
    took_ms       real        not null,
    details       jsonb       not null,
    created_at    timestamptz not null default now()
);

comment on table cache_warm_runs is 'one row a run of cache.warm; its id is the job''s';
