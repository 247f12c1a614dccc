//! The settings of glibc's allocator that `serve` runs with.

/// The environment variable that glibc reads its settings from, when a process starts.
pub const VARIABLE: &str = "GLIBC_TUNABLES";

/// The value of [`VARIABLE`]. By default, glibc keeps freed memory in an arena for each thread, and
/// some hundred MiB stay after a burst of large bodies. One arena, trimmed at 16 MiB, gives it back.
/// The fixed threshold keeps the buffers of large bodies from being mapped anew for each request.
pub const SETTINGS: &str = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=33554432:\
                            glibc.malloc.trim_threshold=16777216";
