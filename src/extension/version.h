#pragma once

namespace chronos::extension {

/// Release of this module, as "0.2.0". In a file of its own, so that the release is one string of
/// the library.
extern const char kModuleVersion[];

}  // namespace chronos::extension
