-- Results of cancelled jobs would read as done: they go.
delete from job_results where status = 'cancelled';
alter table job_results drop column status;
drop table queue_policies;
