#pragma once

namespace chronos::extension {

/// Registers the launcher; while the postmaster preloads.
void register_launcher();

}  // namespace chronos::extension
