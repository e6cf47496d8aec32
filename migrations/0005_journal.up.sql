-- Jobs whose acceptance is a committed row: they outlive Dragonfly's memory, and can be enqueued in SQL.

create table job_journal (
    id          uuid primary key,
    queue       text        not null check (queue ~ '^[a-z][a-z0-9_]{0,31}$'),
    kind        text        not null,
    envelope    bytea       not null,
    priority    smallint    not null default 2 check (priority between 1 and 3),
    due_at      timestamptz,
    generation  bigint      not null default 0,
    accepted_at timestamptz not null default now()
);

comment on table job_journal is
    'one row per journaled job that is accepted and not settled; the settlement that commits its result deletes it';
comment on column job_journal.envelope is 'the job as it enters its stream, MessagePack or JSON';
comment on column job_journal.priority is '1 high, 2 normal, 3 low';
comment on column job_journal.generation is
    'the generation of Dragonfly''s memory that is believed to hold the job; 0: not brought there yet';

create index job_journal_to_relay on job_journal (generation, id);

create table broker_generation (
    single         boolean primary key default true check (single),
    generation     bigint      not null,
    nonce          text        not null,
    replication_id text        not null,
    changed_at     timestamptz not null default now()
);

comment on table broker_generation is
    'one row: how often Dragonfly lost its memory or went back in time, and the marks by which its present memory is known';

insert into broker_generation (generation, nonce, replication_id) values (1, '', '');

create table job_kinds (
    kind              text primary key,
    queue             text        not null,
    max_payload_bytes integer     not null,
    changed_at        timestamptz not null default now()
);

comment on table job_kinds is 'which queue each kind of job waits in; kept by the workers, read by tripsage.enqueue';

create table queue_levels (
    queue       text primary key,
    n_jobs      bigint      not null,
    n_bytes     bigint      not null,
    measured_at timestamptz not null default now()
);

comment on table queue_levels is 'how full queues with a budget are; kept by the workers, read by tripsage.enqueue';

create schema tripsage;

comment on schema tripsage is 'what other programs may call; everything else in this database is the service''s own';

-- A UUID of version 7: 48 bits of time, then chance.
create function tripsage.new_job_id() returns uuid language sql volatile as $$
    select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- The kinds that look most like a name, by pairs of letters that both have.
create function tripsage.kinds_like(name text) returns text language sql stable as $$
    select string_agg('`' || kind || '`', ', ' order by alike desc, kind) from (
        select kind, (select count(*) from generate_series(1, length(name) - 1) as at
                      where position(substr(name, at, 2) in kind) > 0) as alike
        from job_kinds order by alike desc, kind limit 5) as nearest
$$;

-- A whole number out of the options; null where there is none.
create function tripsage.number_option(options jsonb, name text, smallest bigint, largest bigint) returns bigint language plpgsql immutable as $$
declare
    value jsonb := options -> name;
begin
    if value is null or value = 'null'::jsonb then
        return null;
    end if;
    if jsonb_typeof(value) <> 'number' or value::text !~ '^[0-9]{1,18}$' or value::text::bigint not between smallest and largest then
        raise exception 'the option `%` is %', name, value
            using errcode = '22023', hint = format('expected a whole number from %s to %s', smallest, largest);
    end if;
    return value::text::bigint;
end
$$;

-- Text out of the options; null where there is none.
create function tripsage.text_option(options jsonb, name text) returns text language plpgsql immutable as $$
declare
    value jsonb := options -> name;
begin
    if value is null or value = 'null'::jsonb then
        return null;
    end if;
    if jsonb_typeof(value) <> 'string' then
        raise exception 'the option `%` is %', name, value using errcode = '22023', hint = 'expected text';
    end if;
    return value #>> '{}';
end
$$;

-- When the job is due: run_at (a timestamp, or milliseconds since 1970) or delay_ms; null for at once.
create function tripsage.due_option(options jsonb) returns timestamptz language plpgsql volatile as $$
declare
    at_text text;
    delay_ms bigint := tripsage.number_option(options, 'delay_ms', 0, 315576000000);
begin
    if delay_ms is not null and options ? 'run_at' then
        raise exception 'both `run_at` and `delay_ms` are given' using errcode = '22023', hint = 'one of them says when';
    end if;
    if delay_ms is not null then
        return clock_timestamp() + delay_ms * interval '1 millisecond';
    end if;
    if jsonb_typeof(options -> 'run_at') = 'number' then
        return to_timestamp(tripsage.number_option(options, 'run_at', 0, 253402300799999) / 1000.0);
    end if;
    at_text := tripsage.text_option(options, 'run_at');
    return at_text::timestamptz;
exception when invalid_datetime_format or datetime_field_overflow then
    raise exception 'the option `run_at` is "%"', at_text using errcode = '22023',
        hint = 'expected a timestamp such as 2026-01-31T08:00:00Z, or milliseconds since 1970';
end
$$;

-- The id that was given, or a new one.
create function tripsage.id_option(options jsonb) returns uuid language plpgsql volatile as $$
begin
    return coalesce(tripsage.text_option(options, 'id')::uuid, tripsage.new_job_id());
exception when invalid_text_representation then
    raise exception 'the option `id` is %', options -> 'id' using errcode = '22023', hint = 'expected a UUID';
end
$$;

-- The dedup key with its window and mode, checked; null where there is none.
create function tripsage.dedup_option(options jsonb) returns jsonb language plpgsql immutable as $$
declare
    dedup jsonb := options -> 'dedup';
    name text;
begin
    if dedup is null or dedup = 'null'::jsonb then
        return null;
    end if;
    if jsonb_typeof(dedup) <> 'object' then
        raise exception 'the option `dedup` is %', dedup using errcode = '22023',
            hint = 'expected an object such as {"key": "trip-7", "window_ms": 60000, "mode": "existing"}';
    end if;
    for name in select jsonb_object_keys(dedup) loop
        if name not in ('key', 'window_ms', 'mode') then
            raise exception 'the option `dedup` has no field `%`', name using errcode = '22023',
                hint = 'the fields are key, window_ms, mode';
        end if;
    end loop;
    if coalesce(octet_length(tripsage.text_option(dedup, 'key')), 0) not between 1 and 512 then
        raise exception 'the key of `dedup` is %', coalesce(dedup -> 'key', 'null') using errcode = '22023',
            hint = 'expected text of 1 to 512 bytes';
    end if;
    if tripsage.number_option(dedup, 'window_ms', 1, 315576000000) is null then
        raise exception '`dedup` has no window_ms' using errcode = '22023', hint = 'expected how long the key lasts, milliseconds';
    end if;
    if coalesce(tripsage.text_option(dedup, 'mode'), 'reject') not in ('reject', 'existing', 'replace', 'debounce', 'throttle') then
        raise exception 'the mode of `dedup` is %', dedup -> 'mode' using errcode = '22023',
            hint = 'expected reject, existing, replace, debounce or throttle';
    end if;
    return dedup;
end
$$;

-- Refuses what is no option, or has a wrong value that the other readers of options do not see.
create function tripsage.check_options(options jsonb) returns void language plpgsql volatile as $$
declare
    known constant text[] := array['id', 'user_id', 'priority', 'run_at', 'delay_ms', 'deadline_ms', 'timeout_ms',
        'max_attempts', 'notify', 'traceparent', 'dedup'];
    name text;
    wish jsonb;
begin
    if jsonb_typeof(options) <> 'object' then
        raise exception 'the options are %', options using errcode = '22023',
            hint = 'expected an object such as {"priority": "high"}';
    end if;
    for name in select jsonb_object_keys(options) loop
        if name <> all (known) then
            raise exception 'there is no option `%`', name using errcode = '22023',
                hint = 'the options are ' || array_to_string(known, ', ');
        end if;
    end loop;
    if coalesce(tripsage.text_option(options, 'priority'), 'normal') not in ('high', 'normal', 'low') then
        raise exception 'the option `priority` is %', options -> 'priority' using errcode = '22023',
            hint = 'expected high, normal or low';
    end if;
    if tripsage.number_option(options, 'deadline_ms', 0, 253402300799999) < extract(epoch from clock_timestamp()) * 1000 then
        raise exception 'the option `deadline_ms` is %, which has passed', options -> 'deadline_ms' using errcode = '22023',
            hint = 'expected milliseconds since 1970, such as '
                || ((extract(epoch from clock_timestamp()) + 60) * 1000)::bigint || ' for a minute from now';
    end if;
    if options -> 'notify' <> 'null'::jsonb then
        if jsonb_typeof(options -> 'notify') <> 'array' then
            raise exception 'the option `notify` is %', options -> 'notify' using errcode = '22023',
                hint = 'expected an array of "job", "user" or "reply:<name>"';
        end if;
        for wish in select jsonb_array_elements(options -> 'notify') loop
            if jsonb_typeof(wish) <> 'string' or (wish #>> '{}') !~ '^(job|user|reply:\S+)$' then
                raise exception 'the option `notify` has %', wish using errcode = '22023',
                    hint = 'expected "job", "user" or "reply:<name>"';
            end if;
        end loop;
    end if;
end
$$;

-- Refuses a job of a queue that is closed, or that was full a few seconds ago.
create function tripsage.check_room(wanted text) returns void language plpgsql stable as $$
declare
    decided jsonb := (select policy from queue_policies where queue = wanted);
    found queue_levels%rowtype;
begin
    if decided -> 'closed' = 'true'::jsonb then
        raise exception 'the queue `%` takes no new jobs', wanted using errcode = '53400',
            hint = 'an operator closed it; try again in 30 s';
    end if;
    if not (decided ? 'max_depth' or decided ? 'max_bytes') then
        return;
    end if;
    select * into found from queue_levels where queue = wanted;
    if found.n_jobs >= (decided ->> 'max_depth')::bigint or found.n_bytes >= (decided ->> 'max_bytes')::bigint then
        raise exception 'the queue `%` is full', wanted using errcode = '53400',
            hint = format('it holds %s jobs of %s bytes; try again in 5 s', found.n_jobs, found.n_bytes);
    end if;
end
$$;

-- Accepts a job in the caller's transaction: it exists when that commits, and never when it is rolled back.
create function tripsage.enqueue(kind text, payload jsonb, options jsonb default '{}') returns uuid
language plpgsql volatile security definer as $$
declare
    chosen job_kinds%rowtype;
    job_id uuid;
    due timestamptz;
    job jsonb;
    bytes bytea;
begin
    options := coalesce(options, '{}');
    perform tripsage.check_options(options);
    select * into chosen from job_kinds as known where known.kind = enqueue.kind;
    if not found then
        raise exception 'there is no kind of job `%`', coalesce(kind, 'null') using errcode = '22023',
            hint = coalesce('the nearest are ' || tripsage.kinds_like(kind),
                'no kinds are known yet: start a worker or run `tripsage migrate`');
    end if;
    perform tripsage.check_room(chosen.queue);
    job_id := tripsage.id_option(options);
    due := tripsage.due_option(options);
    job := jsonb_strip_nulls(jsonb_build_object('v', 1, 'id', job_id, 'kind', kind, 'journaled', true,
        'user_id', tripsage.text_option(options, 'user_id'), 'priority', tripsage.text_option(options, 'priority'),
        'deadline', tripsage.number_option(options, 'deadline_ms', 0, 253402300799999),
        'timeout_ms', tripsage.number_option(options, 'timeout_ms', 1, 86400000),
        'max_attempts', tripsage.number_option(options, 'max_attempts', 1, 4294967295),
        'notify', options -> 'notify', 'traceparent', tripsage.text_option(options, 'traceparent'),
        'dedup', tripsage.dedup_option(options)));
    -- The payload's own nulls stay.
    bytes := convert_to((job || jsonb_build_object('payload', coalesce(payload, '{}')))::text, 'UTF8');
    if octet_length(bytes) > chosen.max_payload_bytes then
        raise exception 'the job has % bytes', octet_length(bytes) using errcode = '54000',
            hint = format('at most %s are accepted (TRIPSAGE_WORKER_MAX_PAYLOAD_BYTES): store what is large elsewhere and name it',
                chosen.max_payload_bytes);
    end if;
    insert into job_journal (id, queue, kind, envelope, priority, due_at)
    values (job_id, chosen.queue, chosen.kind, bytes,
        case options ->> 'priority' when 'high' then 1 when 'low' then 3 else 2 end, due)
    on conflict (id) do nothing;
    perform pg_notify('tripsage_journal', '');
    return job_id;
end
$$;

comment on function tripsage.enqueue(text, jsonb, jsonb) is
    'accepts a job in the caller''s transaction. Options: id, user_id, priority (high, normal, low), run_at (timestamp or ms) '
    'or delay_ms, deadline_ms (since 1970), timeout_ms, max_attempts, notify (array), traceparent, dedup '
    '(object: key, window_ms, mode). The same id twice is one job';

-- Each function finds the service's own tables where this migration made them, and nothing that a caller put in between.
do $$
declare
    made regprocedure;
begin
    for made in select p.oid::regprocedure from pg_proc as p where p.pronamespace = 'tripsage'::regnamespace loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp', made, current_schema());
        execute format('revoke all on function %s from public', made);
    end loop;
end
$$;
