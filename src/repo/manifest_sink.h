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

/// Compares a manifest that is written to it with the one that was meant, entry by entry, so that
/// nothing of it is kept. `meant` must not change, nor go away, before finish() has returned.
class ManifestComparer final : public io::Sink {
public:
    explicit ManifestComparer(const Manifest& meant);
    ~ManifestComparer() override;
    /// Kinds as parse_manifest(); format if it says something else: as soon as that shows.
    Result<> write(io::Bytes in) override;
    Result<> finish() override;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// What format_manifest() makes of it without its lists.
std::string format_manifest_head(const Manifest& manifest);

/// The same with a text that is there as a whole.
Result<> compare_manifest(std::string_view text, const Manifest& meant);

}  // namespace chronos::repo
