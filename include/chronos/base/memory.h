#pragma once

namespace chronos {

/// Gives memory that was freed back to the system, holes in the heap included. For the moment after
/// something large is gone and before the next large thing comes: a heap that has grown in steps
/// keeps about as much as it holds. Some milliseconds for 100 MB; any thread.
void release_free_memory();

}  // namespace chronos
