drop table cache_warm_runs;
drop table places;
drop table search_results;
