#include "chronos/repo/side/wal_notes.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/proven_text.h"
#include "chronos/repo/side/kept_aside.h"

namespace chronos::repo {
namespace {

std::string notes_path(const std::string& stanza, const char* kind, const std::string& archive_id) {
    return "chronos/" + stanza + "/" + kind + "/" + archive_id;
}

/// The words of a line.
std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    for (const std::string_view word : split(trim(line), ' '))
        if (!word.empty()) words.push_back(word);
    return words;
}

/// "<last segment> <since> <until>"
std::optional<WalGap> parse_gap(const std::string& first, std::string_view text) {
    const std::vector<std::string_view> words = words_of(text);
    if (words.size() < 3 || !pgdata::is_wal_segment(words[0])) return std::nullopt;
    const auto since = parse_unix_time(words[1]);
    const auto until = parse_unix_time(words[2]);
    if (!since || !until || words[0] < first) return std::nullopt;
    return WalGap{first, std::string(words[0]), *since, *until};
}

/// "<segment> <microseconds since 1970> <lsn>"
std::optional<CommitNote> parse_commit_note(std::string_view line) {
    const std::vector<std::string_view> words = words_of(line);
    if (words.size() < 3 || !pgdata::is_wal_segment(words[0])) return std::nullopt;
    const auto time = parse_uint(words[1]);
    const auto end = Lsn::parse(words[2]);
    if (!time || *time > std::uint64_t{kUnixTimeMax_us} || !end) return std::nullopt;
    return CommitNote{std::string(words[0]), static_cast<std::int64_t>(*time), *end};
}

/// Lines that are none are passed over.
std::optional<std::vector<CommitNote>> parse_commit_notes(std::string_view text) {
    std::vector<CommitNote> notes;
    for (const std::string_view line : split(text, '\n'))
        if (auto note = parse_commit_note(line)) notes.push_back(*std::move(note));
    return notes;
}

template <class T>
std::optional<T> parse_hex(std::string_view text) {
    T value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// "<begin>-<end>-<commit>-<sha1>[.ext]"
std::optional<WalPiece> parse_piece(const std::string& segment, const storage::Entry& entry,
                                    std::string_view name) {
    const std::vector<std::string_view> parts = split(name, '-');
    if (parts.size() != 4 || parts[3].size() < crypto::kSha1TextSize) return std::nullopt;
    const auto begin = parse_hex<std::uint32_t>(parts[0]);
    const auto end = parse_hex<std::uint32_t>(parts[1]);
    const auto commit = parse_hex<std::int64_t>(parts[2]);
    const std::string_view checksum = parts[3].substr(0, crypto::kSha1TextSize);
    const compress::CompressType type = compress::compress_type_of_name(name);
    if (!begin || !end || !commit || *commit > kUnixTimeMax_us || *begin >= *end ||
        !from_hex(checksum) ||
        parts[3].substr(crypto::kSha1TextSize) != compress::compress_extension(type))
        return std::nullopt;
    return WalPiece{segment, *begin, *end, *commit, std::string(checksum), type, entry.modified};
}

}  // namespace

Result<std::vector<WalGap>> list_gaps(const Repository& repository, const std::string& stanza,
                                      const std::string& archive_id, const std::string& pass) {
    const std::string path = notes_path(stanza, "gap", archive_id);
    std::vector<WalGap> gaps;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(path))) {
        if (!pgdata::is_wal_segment(entry.name)) continue;
        const std::string text =
            CHRONOS_TRY_DOING(read_text(repository, path + "/" + entry.name, pass),
                              "read record of dropped WAL " + entry.name);
        if (auto gap = parse_gap(entry.name, text)) gaps.push_back(*std::move(gap));
    }
    return gaps;
}

Result<> save_gap(const Repository& repository, const std::string& stanza,
                  const std::string& archive_id, const WalGap& gap, const std::string& pass) {
    const auto parse = [&](std::string_view text) { return parse_gap(gap.first, text); };
    return write_text(
        repository, notes_path(stanza, "gap", archive_id) + "/" + gap.first,
        gap.last + " " + std::to_string(gap.since) + " " + std::to_string(gap.until) + "\n", pass,
        reads_back_as(gap, parse));
}

Result<> save_commit_notes(const Repository& repository, const std::string& stanza,
                           const std::string& archive_id, const std::vector<CommitNote>& notes,
                           const std::string& pass) {
    std::string text;
    for (const CommitNote& note : notes)
        text += note.segment + " " + std::to_string(note.time_us) + " " + note.end.str() + "\n";
    return write_text(repository,
                      notes_path(stanza, "commit", archive_id) + "/" + notes.front().segment, text,
                      pass, reads_back_as(notes, parse_commit_notes));
}

Result<std::optional<CommitNote>> last_commit_note(const Repository& repository,
                                                   const std::string& stanza,
                                                   const std::string& archive_id,
                                                   const std::string& first,
                                                   const std::string& last, const std::string& pass,
                                                   std::size_t objects_max) {
    const std::string path = notes_path(stanza, "commit", archive_id);
    // Segments of one timeline only: their names begin with it.
    const auto entries = CHRONOS_TRY(repository.storage->list(path, last.substr(0, 8)));
    // Segments are pushed several at a time: what is in one object is not all behind another.
    constexpr std::size_t kInterleaved = 3;
    std::size_t count = 0;
    std::optional<CommitNote> best;
    for (auto entry = entries.rbegin(); entry != entries.rend() && count < objects_max; ++entry) {
        if (!pgdata::is_wal_segment(entry->name) || entry->name > last) continue;
        ++count;
        const std::string text = CHRONOS_TRY(read_text(repository, path + "/" + entry->name, pass));
        for (const std::string_view line : split(text, '\n')) {
            const auto note = parse_commit_note(line);
            if (!note || note->segment < first || note->segment > last) continue;
            if (!best || note->segment > best->segment) best = *note;
        }
        if ((best && count >= kInterleaved) || entry->name <= first) break;
    }
    return best;
}

std::string WalPiece::object(const std::string& stanza, const std::string& archive_id) const {
    char range[64];
    std::snprintf(range, sizeof range, "%08X-%08X-%016llX-", begin, end,
                  static_cast<unsigned long long>(commit_us));
    return wal_pieces_path(stanza, archive_id, segment) + "/" + range + checksum +
           std::string(compress::compress_extension(compression));
}

std::string wal_pieces_path(const std::string& stanza, const std::string& archive_id,
                            const std::string& segment) {
    return notes_path(stanza, "stream", archive_id) + "/" + segment;
}

Result<std::vector<WalPiece>> list_wal_pieces(const Repository& repository,
                                              const std::string& stanza,
                                              const std::string& archive_id,
                                              const std::string& segment) {
    std::string path = notes_path(stanza, "stream", archive_id);
    if (!segment.empty()) path += "/" + segment;
    std::vector<WalPiece> pieces;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list_tree(path))) {
        std::string_view name = entry.name;
        std::string of = segment;
        if (of.empty()) {
            of = name.substr(0, std::min(name.size(), pgdata::kWalSegmentNameSize));
            if (!pgdata::is_wal_segment(of) || name.size() <= pgdata::kWalSegmentNameSize) continue;
            name.remove_prefix(pgdata::kWalSegmentNameSize + 1);
        }
        if (auto piece = parse_piece(of, entry, name)) pieces.push_back(*std::move(piece));
    }
    return pieces;
}

std::vector<WalPiece> joined_pieces(const std::vector<WalPiece>& pieces) {
    std::vector<WalPiece> chain;
    std::uint32_t at = 0;
    for (;;) {
        const WalPiece* next = nullptr;
        for (const WalPiece& piece : pieces)
            if (piece.begin == at && (next == nullptr || piece.end > next->end)) next = &piece;
        if (next == nullptr) return chain;
        chain.push_back(*next);
        at = next->end;
    }
}

std::map<std::string, std::vector<WalPiece>> joined_by_segment(std::vector<WalPiece> pieces) {
    std::map<std::string, std::vector<WalPiece>> by_segment;
    for (WalPiece& piece : pieces) by_segment[piece.segment].push_back(std::move(piece));
    for (auto& [segment, own] : by_segment) own = joined_pieces(own);
    std::erase_if(by_segment, [](const auto& one) { return one.second.empty(); });
    return by_segment;
}

namespace {

/// The last object before stays: its notes may reach behind `segment`.
Result<> remove_commit_notes(const Repository& repository, const std::string& path,
                             const std::string& before) {
    const auto entries = CHRONOS_TRY(repository.storage->list(path));
    for (std::size_t i = 0; i + 1 < entries.size() && entries[i + 1].name <= before; ++i)
        CHRONOS_TRY(repository.storage->remove(path + "/" + entries[i].name));
    return {};
}

}  // namespace

Result<> remove_wal_notes(const Repository& repository, const std::string& stanza,
                          const std::string& archive_id, const std::string& before,
                          const std::string& pass) {
    if (before.empty()) {
        for (const char* kind : {"gap", "commit", "stream", "conflict"})
            CHRONOS_TRY(repository.storage->remove_tree(notes_path(stanza, kind, archive_id)));
        return {};
    }
    for (const WalGap& gap : CHRONOS_TRY(list_gaps(repository, stanza, archive_id, pass)))
        if (gap.last < before)
            CHRONOS_TRY(repository.storage->remove(notes_path(stanza, "gap", archive_id) + "/" +
                                                   gap.first));
    CHRONOS_TRY(remove_commit_notes(repository, notes_path(stanza, "commit", archive_id), before));
    for (const KeptAside& one : CHRONOS_TRY(list_kept_aside(repository, stanza, archive_id)))
        if (pgdata::is_wal_partial(one.name) && one.name < before)
            CHRONOS_TRY(repository.storage->remove(one.object));
    const std::string stream = notes_path(stanza, "stream", archive_id);
    std::string last;
    for (const WalPiece& piece : CHRONOS_TRY(list_wal_pieces(repository, stanza, archive_id))) {
        if (piece.segment >= before || piece.segment == last) continue;
        last = piece.segment;
        CHRONOS_TRY(repository.storage->remove_tree(stream + "/" + last));
    }
    return {};
}

}  // namespace chronos::repo
