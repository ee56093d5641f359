#pragma once

namespace chronos {

/// Opens /dev/null for each of the descriptors 0 to 2 that is closed, as some supervisors start
/// programs: otherwise the next file or connection would get its number, and what is meant for a
/// terminal would be written into it. The first thing that main() does. Ends the process if that
/// is not possible.
void open_standard_files() noexcept;

}  // namespace chronos
