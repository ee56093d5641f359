#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::io {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline Bytes bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
}
inline std::string_view text(Bytes data) {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// Where bytes come from. One thread at a time.
class Source {
public:
    virtual ~Source() = default;
    /// Fills the front of `out` and returns how much; 0 means the end, and only the end.
    virtual Result<std::size_t> read(MutableBytes out) = 0;
};

/// Where bytes go: the end of a pipeline, or a stage in it that passes what it makes of them on to
/// the next sink. One thread at a time.
///
/// finish() says that the data is whole; a stage flushes what it holds and finishes the next one.
/// A sink that is destroyed without finish(), or whose write() failed, leaves the sinks behind it
/// unfinished: that is how they learn not to make half a file visible. After an error, and after
/// finish(), no further call is allowed.
class Sink {
public:
    virtual ~Sink() = default;
    virtual Result<> write(Bytes in) = 0;
    virtual Result<> finish() = 0;
};

/// Keeps what is written. `content` is whole once finished() is true.
class MemorySink final : public Sink {
public:
    /// `size_max` bounds what it keeps: more is an error of kind format, not an exhausted machine.
    explicit MemorySink(std::size_t size_max = SIZE_MAX) : size_max_(size_max) {}
    Result<> write(Bytes in) override;
    Result<> finish() override {
        finished_ = true;
        return {};
    }
    bool finished() const { return finished_; }
    std::string content;

private:
    std::size_t size_max_;
    bool finished_ = false;
};

/// Reads from memory that outlives it.
class MemorySource final : public Source {
public:
    explicit MemorySource(Bytes data) : rest_(data) {}
    explicit MemorySource(std::string_view data) : rest_(bytes(data)) {}
    Result<std::size_t> read(MutableBytes out) override;

private:
    Bytes rest_;
};

/// Passes bytes on and counts them.
class CountingSink final : public Sink {
public:
    explicit CountingSink(Sink& next) : next_(next) {}
    Result<> write(Bytes in) override {
        count_ += in.size();
        return next_.write(in);
    }
    Result<> finish() override { return next_.finish(); }
    std::uint64_t count() const { return count_; }

private:
    Sink& next_;
    std::uint64_t count_ = 0;
};

/// Swallows everything: for measuring and for checking without a copy.
class NullSink final : public Sink {
public:
    Result<> write(Bytes) override { return {}; }
    Result<> finish() override { return {}; }
};

inline constexpr std::size_t kBufferSize = std::size_t{256} * 1024;

/// Moves everything from `source` to `sink` without finishing it; returns the bytes moved.
Result<std::uint64_t> pump(Source& source, Sink& sink, std::size_t buffer_size = kBufferSize);
/// pump() and finish().
Result<std::uint64_t> copy(Source& source, Sink& sink);
/// The whole of `source`; more than `size_max` bytes is an error of kind format.
Result<std::string> read_all(Source& source, std::size_t size_max = SIZE_MAX);
/// Fills all of `out` unless the source ends first; returns how much.
Result<std::size_t> read_full(Source& source, MutableBytes out);

}  // namespace chronos::io
