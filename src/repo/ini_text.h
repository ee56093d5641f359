#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "chronos/base/result.h"
#include "chronos/crypto/hash.h"

namespace chronos::repo {

/// The checksum of an info file: SHA-1 over a JSON-like rendering of its entries, not over its
/// bytes. Source: docs/format/info-files.md, Checksum.
class IniChecksum {
public:
    void add(std::string_view section, std::string_view key, std::string_view value);
    /// Ends the computation.
    std::string hex();

private:
    crypto::Sha1 sha1_;
    std::string pending_ = "{";  ///< hashed in large pieces
    std::string section_;
    bool any_ = false;
};

struct IniEntry {
    std::string_view section;
    std::string_view key;
    std::string_view value;  ///< one JSON value, as it stands in the file
};

/// Walks the entries of an info file or manifest and checks its frame: syntax, format number and
/// checksum. The text is given as a whole, and must outlive it, or fed piece by piece.
/// Source: docs/format/info-files.md, Syntax.
class IniReader {
public:
    IniReader() = default;
    explicit IniReader(std::string_view text) : rest_(text), whole_(true) {}

    /// More of the text, once next() has said that there is no more in what was fed before.
    void feed(std::string_view piece);
    /// All has been fed.
    void end() { whole_ = true; }
    /// The next entry outside [backrest], valid until the next call of anything; false at the end
    /// of what there is or at an error, which finish() tells.
    bool next(IniEntry& entry);
    /// Kinds: format (syntax, format number), checksum.
    Result<> finish();
    /// [backrest] backrest-version, "" if absent. Whole after the last next().
    const std::string& version() const { return version_; }

private:
    bool read_line(std::string_view line, IniEntry& entry);
    Result<> note_frame_entry(const IniEntry& entry);
    void fail(std::string_view message, std::string_view line);

    std::string buffer_;  ///< what was fed from the last line on that was not complete
    std::string_view rest_;
    bool whole_ = false;  ///< a last line without a line feed is a line
    std::string section_;
    std::string last_key_;  ///< of the section
    std::size_t line_number_ = 0;
    IniChecksum checksum_;
    std::string version_;
    std::string expected_checksum_;
    Result<> result_;
};

/// Builds such a text: [backrest] first, then what the caller adds in the order of the format,
/// then the checksum.
class IniWriter {
public:
    explicit IniWriter(std::string_view version);

    /// What follows belongs to section `name`; without entries it is not written at all.
    void section(std::string_view name);
    void raw(std::string_view key, std::string_view value);
    void string(std::string_view key, std::string_view value);
    void number(std::string_view key, std::uint64_t value);
    void boolean(std::string_view key, bool value) { raw(key, value ? "true" : "false"); }
    /// What has been written since the last call, for those that do not keep all of the text.
    std::string take() { return std::exchange(text_, {}); }
    std::size_t size() const { return text_.size(); }
    std::string finish() &&;

private:
    void put(std::string_view key, std::string_view value);

    std::string text_;
    std::string section_;
    bool header_due_ = false;
    bool any_ = false;
    IniChecksum checksum_;
    std::string value_;
};

/// The value of an entry that is one string, number or boolean; the error names section and key.
Result<std::string> string_value(const IniEntry& entry);
Result<std::uint64_t> number_value(const IniEntry& entry);
Result<bool> bool_value(const IniEntry& entry);

/// "invalid value of 'db-id' in [db]: <error>"
Error value_error(const IniEntry& entry, const Error& error);

}  // namespace chronos::repo
