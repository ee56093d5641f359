#pragma once

/// Nothing is included here: this header is for both worlds of the server's module as well.
namespace chronos {

/// What the error of a run begins with that was left to standbys, and that none has taken: one that
/// comes later takes it after all, which knows it by these words in the history.
inline constexpr char kNotTaken[] = "no standby has taken the run";

}  // namespace chronos
