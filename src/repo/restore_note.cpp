#include "chronos/repo/restore_note.h"

#include "chronos/base/text.h"

namespace chronos::repo {
namespace {

std::string note_object(const std::string& stanza, const std::string& archive_id) {
    return "chronos/" + stanza + "/restore/" + archive_id;
}

}  // namespace

Result<> save_restore_note(const Repository& repository, const std::string& stanza,
                           const std::string& archive_id, const RestoreNote& note,
                           const std::string& pass) {
    return write_text(repository, note_object(stanza, archive_id),
                      std::to_string(note.made) + " " + std::to_string(note.timeline) + "\n" +
                          printable(note.pg_path) + "\n" + printable(note.target) + "\n",
                      pass);
}

Result<std::optional<RestoreNote>> load_restore_note(const Repository& repository,
                                                     const std::string& stanza,
                                                     const std::string& archive_id,
                                                     const std::string& pass) {
    const Result<std::string> text = read_text(repository, note_object(stanza, archive_id), pass);
    if (!text && text.error().kind() == ErrorKind::not_found) return std::optional<RestoreNote>{};
    if (!text) return text.error();
    const auto lines = split(*text, '\n');
    if (lines.size() < 3) return std::optional<RestoreNote>{};
    const std::size_t gap = lines[0].find(' ');
    const auto made = parse_uint(lines[0].substr(0, gap));
    const auto timeline =
        gap == std::string_view::npos ? std::nullopt : parse_uint(lines[0].substr(gap + 1));
    if (!made || !timeline || *timeline > UINT32_MAX) return std::optional<RestoreNote>{};
    return std::optional(RestoreNote{static_cast<UnixTime>(*made), static_cast<Timeline>(*timeline),
                                     std::string(lines[1]), std::string(lines[2])});
}

}  // namespace chronos::repo
