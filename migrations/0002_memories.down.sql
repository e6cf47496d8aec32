-- The extension stays: something else in the database may use it.

drop table memories_to_index;
drop table memory_vectors;
drop table memory_history;
drop table memories;
drop function memories_removed();
