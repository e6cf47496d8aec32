drop schema tripsage cascade;
drop table job_kinds;
drop table broker_generation;
drop table job_journal;
