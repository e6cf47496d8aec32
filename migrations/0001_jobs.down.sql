drop table dead_jobs;
drop table job_results;
