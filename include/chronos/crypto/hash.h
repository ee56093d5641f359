#pragma once

#include <array>
#include <memory>
#include <string>

#include "chronos/io/stream.h"

namespace chronos::crypto {

/// An incremental SHA-1. Not copyable; one thread at a time.
class Sha1 {
public:
    Sha1();
    ~Sha1();
    Sha1(Sha1&&) noexcept;
    Sha1& operator=(Sha1&&) noexcept;
    void update(io::Bytes in);
    /// Ends the computation and returns 40 lower-case hexadecimal digits.
    std::string hex();

private:
    struct State;
    std::unique_ptr<State> state_;
};

std::string sha1_hex(io::Bytes data);
inline std::string sha1_hex(std::string_view data) {
    return sha1_hex(io::bytes(data));
}

inline constexpr std::size_t kSha1TextSize = 40;  ///< in hexadecimal
/// SHA-1 of nothing: the implicit checksum of zero-size files.
inline constexpr std::string_view kSha1OfNothing = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

/// Passes bytes on; counts and hashes them on the way.
class Sha1Sink final : public io::Sink {
public:
    explicit Sha1Sink(io::Sink& next) : next_(next) {}
    Result<> write(io::Bytes in) override {
        sha1_.update(in);
        size_ += in.size();
        return next_.write(in);
    }
    Result<> finish() override { return next_.finish(); }
    std::uint64_t size() const { return size_; }
    /// Once, after all is written.
    std::string hex() { return sha1_.hex(); }

private:
    io::Sink& next_;
    Sha1 sha1_;
    std::uint64_t size_ = 0;
};

/// XXH3 128 bit, seed 0, canonical (big-endian) form: the checksum of a block in a block map,
/// which keeps its first bytes. Source: docs/format/bundles-and-blocks.md, Writing blocks.
std::array<std::byte, 16> xxh3_128(io::Bytes data);

}  // namespace chronos::crypto
