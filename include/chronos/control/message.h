#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chronos::control {

/// The channel between the server module and an engine process: docs/protocol.md says which
/// messages there are, this header what one looks like. Both ends compile it, so it has no state,
/// starts no thread and reports by return value; only an exhausted memory throws.

/// In the first message of an engine. Changes when an old peer could misread a message; a new verb
/// or key that it may overlook does not change it.
inline constexpr unsigned kProtocolVersion = 1;

/// Bytes of a line without its line feed. Bounds what a broken peer can make the other one keep.
inline constexpr std::size_t kLineSizeMax = std::size_t{1} << 20;

/// At the end of a line: its writer died over it and another process ended it. The line is dropped.
inline constexpr char kCutOff = '\x18';

/// One message: a verb and named values. Verbs and keys consist of a-z, 0-9, '-' and '_'; values
/// are any bytes. The order of keys means nothing; a key that a reader does not know is ignored.
struct Message {
    std::string verb;
    std::vector<std::pair<std::string, std::string>> fields;

    Message() = default;
    explicit Message(std::string_view name) : verb(name) {}

    /// Adds a field: `Message("push").with("file", name)`.
    Message&& with(std::string_view key, std::string_view value) &&;
    Message&& with(std::string_view key, std::uint64_t value) &&;

    /// The first field of that name; nullptr if there is none.
    const std::string* get(std::string_view key) const;
    /// As get(), `fallback` if there is none.
    std::string_view get_or(std::string_view key, std::string_view fallback) const;
    /// A field that is a decimal number; nullopt if it is missing or not one.
    std::optional<std::uint64_t> get_uint(std::string_view key) const;

    bool operator==(const Message&) const = default;
};

/// "<verb> <key>=<value> ...\n"; in values every byte but A-Z a-z 0-9 _ . / : , @ + - is %XX. The
/// caller keeps it within kLineSizeMax: no reader accepts more.
std::string encode(const Message& message);

/// A line as LineBuffer returns it. nullopt if it is not a message.
std::optional<Message> decode(std::string_view line);

/// Makes lines of what a pipe delivers in pieces.
class LineBuffer {
public:
    /// False once a line is longer than kLineSizeMax: the peer is broken, nothing more is taken.
    bool append(std::string_view chunk);
    /// The next whole line without its line feed, those that were cut off left out; nullopt until
    /// there is one.
    std::optional<std::string> next_line();
    /// Bytes of a line that has not ended: at the end of the channel it was cut off.
    bool has_partial_line() const { return read_at_ < data_.size(); }

private:
    std::string data_;
    std::size_t read_at_ = 0;    ///< before it: already returned
    std::size_t line_size_ = 0;  ///< bytes since the last line feed in data_
    bool broken_ = false;
};

}  // namespace chronos::control
