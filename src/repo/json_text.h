#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"

namespace chronos::repo {

/// Reads one value of the JSON subset of info files in a single pass, without building a tree: a
/// manifest has one value a file. Source: docs/format/info-files.md, Values.
///
/// The first failure sticks: every later read returns nothing and every loop ends, so a caller
/// reads straight on and asks finish() once. Views point into the text given.
class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    /// `for (begin_object(); next_key(key);)` visits the members; each value must be consumed.
    void begin_object();
    bool next_key(std::string_view& key);
    /// `for (begin_array(); next_item();)`
    void begin_array();
    bool next_item();

    /// The kind of the value ahead, by its first character: '{', '[', '"', 't', 'f', 'n', '0' for
    /// every number, '\0' at the end.
    char peek();

    std::string string();
    std::uint64_t number();
    std::int64_t signed_number();
    /// Seconds since 1970, or before it; within kUnixTimeMax.
    UnixTime time();
    bool boolean();
    void null();
    /// Any value.
    void skip();

    /// Marks the value just read as unacceptable to the caller.
    void fail(std::string_view message);
    bool failed() const { return failure_ != nullptr || !own_failure_.empty(); }
    /// Nothing failed and nothing but white space is left.
    bool finished();
    /// Kind json_format: what was expected, and the text it was expected at.
    Error error() const;

private:
    void skip_space();
    bool take(char c);
    bool take_word(std::string_view word);
    void expected(const char* what);
    bool next(char close);
    bool skip_string();
    bool skip_scalar();
    void append_escape(std::string& result);

    std::string_view text_;
    std::size_t at_ = 0;
    bool first_ = false;  ///< just inside an object or array
    const char* failure_ = nullptr;
    std::string own_failure_;
};

/// Whether the whole of `text` is one JSON value.
bool is_json(std::string_view text);

/// Appends `text` with quotes and the escapes that the format's writer knows.
void append_json_string(std::string& out, std::string_view text);
void append_number(std::string& out, std::uint64_t value);
void append_number(std::string& out, std::int64_t value);
inline void append_bool(std::string& out, bool value) {
    out += value ? "true" : "false";
}

}  // namespace chronos::repo
