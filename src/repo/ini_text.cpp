#include "repo/ini_text.h"

#include "chronos/base/text.h"
#include "chronos/repo/repository.h"
#include "repo/json_text.h"

namespace chronos::repo {
namespace {

constexpr std::string_view kFrame = "backrest";
constexpr std::size_t kHashPiece = std::size_t{64} * 1024;
/// A bound for what is kept of a hostile text. The longest line of the format lists the bad pages
/// of a file.
constexpr std::size_t kLineSizeMax = std::size_t{64} << 20;

/// The value of an entry read by `read`, a member function of JsonReader.
template <class T>
Result<T> single_value(const IniEntry& entry, T (JsonReader::*read)()) {
    JsonReader reader(entry.value);
    T value = (reader.*read)();
    if (!reader.finished()) return value_error(entry, reader.error());
    return value;
}

}  // namespace

void IniChecksum::add(std::string_view section, std::string_view key, std::string_view value) {
    if (!any_ || section != section_) {
        if (any_) pending_ += "},";
        pending_ += '"';
        pending_ += section;
        pending_ += "\":{";
        section_ = section;
        any_ = true;
    } else {
        pending_ += ',';
    }
    append_json_string(pending_, key);
    pending_ += ':';
    pending_ += value;
    if (pending_.size() >= kHashPiece) {
        sha1_.update(io::bytes(pending_));
        pending_.clear();
    }
}

std::string IniChecksum::hex() {
    pending_ += "}}";
    sha1_.update(io::bytes(pending_));
    return sha1_.hex();
}

void IniReader::fail(std::string_view message, std::string_view line) {
    result_ =
        Error(ErrorKind::format, std::string(message) + " at line " + std::to_string(line_number_) +
                                     ": " + printable(line, 80));
}

bool IniReader::read_line(std::string_view line, IniEntry& entry) {
    if (line.front() == '[' && line.back() == ']') {
        const std::string_view name = line.substr(1, line.size() - 2);
        if (name != section_) last_key_.clear();
        section_ = name;
        if (section_.empty()) fail("invalid empty section", line);
        return false;
    }
    if (section_.empty()) {
        fail("key/value found outside of section", line);
        return false;
    }
    // A key may hold '=' itself: the value begins behind the first one that leaves valid JSON.
    const std::size_t first = line.find('=');
    for (std::size_t at = first; at != std::string_view::npos; at = line.find('=', at + 1)) {
        if (!is_json(line.substr(at + 1))) continue;
        if (at == 0) break;
        entry = {section_, line.substr(0, at), line.substr(at + 1)};
        // Writers sort: whatever is there twice follows itself, and one of both would not count.
        if (entry.key == last_key_) {
            fail("key is there twice", line);
            return false;
        }
        last_key_ = entry.key;
        return true;
    }
    fail(first == std::string_view::npos ? "missing '=' in key/value"
         : first == 0                    ? "key is zero-length"
                                         : "invalid JSON value",
         line);
    return false;
}

Result<> IniReader::note_frame_entry(const IniEntry& entry) {
    if (entry.key == "backrest-checksum") {
        expected_checksum_ = CHRONOS_TRY(string_value(entry));
        return {};
    }
    checksum_.add(entry.section, entry.key, entry.value);
    if (entry.key == "backrest-version") version_ = CHRONOS_TRY(string_value(entry));
    if (entry.key == "backrest-format" && entry.value != std::to_string(kFormatNumber))
        return Error(ErrorKind::format, "expected format " + std::to_string(kFormatNumber) +
                                            " but found " + printable(entry.value, 40));
    return {};
}

void IniReader::feed(std::string_view piece) {
    buffer_.erase(0, buffer_.size() - rest_.size());
    buffer_ += piece;
    rest_ = buffer_;
}

bool IniReader::next(IniEntry& entry) {
    while (result_ && !rest_.empty()) {
        const std::size_t end = rest_.find('\n');
        if (end == std::string_view::npos && !whole_) {
            if (rest_.size() > kLineSizeMax) fail("line is too long", rest_.substr(0, 80));
            return false;
        }
        const std::string_view line = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        ++line_number_;
        if (line.empty() || !read_line(line, entry)) continue;
        if (entry.section != kFrame) {
            checksum_.add(entry.section, entry.key, entry.value);
            return true;
        }
        result_ = note_frame_entry(entry);
    }
    return false;
}

Result<> IniReader::finish() {
    CHRONOS_TRY(result_);
    const std::string actual = checksum_.hex();
    if (expected_checksum_.empty())
        return Error(ErrorKind::checksum,
                     "invalid checksum, actual '" + actual + "' but no checksum found");
    if (actual != expected_checksum_)
        return Error(ErrorKind::checksum, "invalid checksum, actual '" + actual +
                                              "' but expected '" + printable(expected_checksum_) +
                                              "'");
    return {};
}

IniWriter::IniWriter(std::string_view version) {
    section(kFrame);
    number("backrest-format", kFormatNumber);
    string("backrest-version", version);
}

void IniWriter::section(std::string_view name) {
    section_ = name;
    header_due_ = true;
}

void IniWriter::put(std::string_view key, std::string_view value) {
    if (header_due_) {
        if (std::exchange(any_, true)) text_ += '\n';
        text_ += '[';
        text_ += section_;
        text_ += "]\n";
        header_due_ = false;
    }
    text_ += key;
    text_ += '=';
    text_ += value;
    text_ += '\n';
}

void IniWriter::raw(std::string_view key, std::string_view value) {
    put(key, value);
    checksum_.add(section_, key, value);
}

void IniWriter::string(std::string_view key, std::string_view value) {
    value_.clear();
    append_json_string(value_, value);
    raw(key, value_);
}

void IniWriter::number(std::string_view key, std::uint64_t value) {
    raw(key, std::to_string(value));
}

std::string IniWriter::finish() && {
    const std::string checksum = checksum_.hex();
    section(kFrame);
    put("backrest-checksum", '"' + checksum + '"');
    return std::move(text_);
}

Result<std::string> string_value(const IniEntry& entry) {
    return single_value(entry, &JsonReader::string);
}

Result<std::uint64_t> number_value(const IniEntry& entry) {
    return single_value(entry, &JsonReader::number);
}

Result<bool> bool_value(const IniEntry& entry) {
    return single_value(entry, &JsonReader::boolean);
}

Error value_error(const IniEntry& entry, const Error& error) {
    return Error(error.kind(), "invalid value of '" + printable(entry.key) + "' in [" +
                                   printable(entry.section) + "]: " + error.message());
}

}  // namespace chronos::repo
