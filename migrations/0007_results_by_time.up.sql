-- Results by time, for retention and reports: a few bytes per range of pages, where an entry per row cost every settlement
-- as much as a quarter of its insert.

drop index job_results_kind;
create index job_results_committed on job_results using brin (committed_at);
