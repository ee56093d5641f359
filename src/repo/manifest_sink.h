#pragma once

#include <memory>

#include "chronos/io/stream.h"
#include "chronos/repo/manifest.h"

namespace chronos::repo {

/// Reads a manifest that is written to it, without ever having its text as a whole: that of a large
/// cluster is larger than what it says. Takes everything; what is wrong with it is told by take().
class ManifestSink final : public io::Sink {
public:
    ManifestSink();
    ~ManifestSink() override;
    Result<> write(io::Bytes in) override;
    Result<> finish() override { return {}; }

    /// The first character, '\0' if there is none.
    char first() const { return first_; }
    /// Once, when all has been written. As parse_manifest().
    Result<Manifest> take();

private:
    struct State;
    std::unique_ptr<State> state_;
    char first_ = '\0';
};

}  // namespace chronos::repo
