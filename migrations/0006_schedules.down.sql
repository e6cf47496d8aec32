drop table schedules;
