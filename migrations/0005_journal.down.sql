drop schema tripsage cascade;
drop table queue_levels;
drop table job_kinds;
drop table broker_generation;
drop table job_journal;
