#include "chronos/repo/side/restore_note.h"

#include "chronos/base/text.h"
#include "chronos/repo/proven_text.h"

namespace chronos::repo {
namespace {

std::string note_object(const std::string& stanza, const std::string& archive_id) {
    return "chronos/" + stanza + "/restore/" + archive_id;
}

std::optional<RestoreNote> parse_note(std::string_view text) {
    const auto lines = split(text, '\n');
    if (lines.size() < 3) return std::nullopt;
    const std::size_t gap = lines[0].find(' ');
    const auto made = parse_unix_time(lines[0].substr(0, gap));
    const auto timeline =
        gap == std::string_view::npos ? std::nullopt : parse_uint(lines[0].substr(gap + 1));
    if (!made || !timeline || *timeline > UINT32_MAX) return std::nullopt;
    return RestoreNote{*made, static_cast<Timeline>(*timeline), std::string(lines[1]),
                       std::string(lines[2]), std::string(lines.size() > 3 ? lines[3] : "")};
}

}  // namespace

Result<> save_restore_note(const Repository& repository, const std::string& stanza,
                           const std::string& archive_id, const RestoreNote& note,
                           const std::string& pass) {
    const auto read_back = [&](std::string_view text) -> Result<> {
        const auto read = parse_note(text);
        if (read && read->made == note.made && read->timeline == note.timeline &&
            read->pg_path == printable(note.pg_path) && read->target == printable(note.target) &&
            read->last_segment == note.last_segment)
            return {};
        return Error(ErrorKind::format, "it does not read back as what was meant");
    };
    return write_text(repository, note_object(stanza, archive_id),
                      std::to_string(note.made) + " " + std::to_string(note.timeline) + "\n" +
                          printable(note.pg_path) + "\n" + printable(note.target) + "\n" +
                          note.last_segment + "\n",
                      pass, read_back);
}

Result<std::optional<RestoreNote>> load_restore_note(const Repository& repository,
                                                     const std::string& stanza,
                                                     const std::string& archive_id,
                                                     const std::string& pass) {
    const Result<std::string> text = read_text(repository, note_object(stanza, archive_id), pass);
    if (!text && text.error().kind() == ErrorKind::not_found) return std::optional<RestoreNote>{};
    if (!text) return text.error();
    return parse_note(*text);
}

}  // namespace chronos::repo
