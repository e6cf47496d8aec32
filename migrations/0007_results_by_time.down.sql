drop index job_results_committed;
create index job_results_kind on job_results (kind, committed_at);
