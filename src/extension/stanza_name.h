#pragma once

namespace chronos::extension {

/// Why `name` is no name of a stanza; nullptr if it is one. What the engine says, too.
const char* stanza_problem(const char* name) noexcept;

}  // namespace chronos::extension
