#include "chronos/pgdata/relation_files.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "pgdata/little_endian.h"

namespace chronos::pgdata {
namespace {

constexpr std::uint32_t kMapMagic = 0x592717;
constexpr std::size_t kMapHead = 8, kMapEntry = 8;

constexpr std::size_t kPage = 8192;
constexpr std::size_t kPageHead = 24, kLowerAt = 12, kPointer = 4;
constexpr unsigned kNormal = 1;
/// Of a row: the length of its head, and in pg_class oid and relfilenode behind that.
constexpr std::size_t kHeadLengthAt = 22, kRowHead = 23, kFileAt = 88;

/// nullopt if the row does not lie in the page.
std::optional<RelationFile> relation_of_row(io::Bytes page, std::size_t at, std::size_t length) {
    if (length < kRowHead || at < kPageHead || at + length > page.size()) return std::nullopt;
    const std::size_t head = std::to_integer<std::size_t>(page[at + kHeadLengthAt]);
    if (head < kRowHead || head + kFileAt + sizeof(std::uint32_t) > length) return std::nullopt;
    return RelationFile{load<std::uint32_t>(page, at + head),
                        load<std::uint32_t>(page, at + head + kFileAt)};
}

}  // namespace

std::optional<std::uint32_t> number_of_relation_file(std::string_view file_name) {
    const std::string_view digits = file_name.substr(0, file_name.find_first_of("._"));
    const auto number = parse_uint(digits);
    if (!number || *number == 0 || *number > UINT32_MAX) return std::nullopt;
    return static_cast<std::uint32_t>(*number);
}

Result<std::vector<RelationFile>> parse_relation_map(io::Bytes content) {
    if (content.size() < kMapHead || load<std::uint32_t>(content, 0) != kMapMagic)
        return Error(ErrorKind::format, "it is no map of relations");
    const std::size_t count = load<std::uint32_t>(content, sizeof(std::uint32_t));
    if (count > (content.size() - kMapHead) / kMapEntry)
        return Error(ErrorKind::format, "a map of relations is too short");
    std::vector<RelationFile> relations;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = kMapHead + i * kMapEntry;
        relations.push_back({load<std::uint32_t>(content, at),
                             load<std::uint32_t>(content, at + sizeof(std::uint32_t))});
    }
    return relations;
}

std::vector<RelationFile> relations_in_pages(io::Bytes pages) {
    std::vector<RelationFile> relations;
    for (; pages.size() >= kPage; pages = pages.subspan(kPage)) {
        const io::Bytes page = pages.first(kPage);
        const std::size_t lower = load<std::uint16_t>(page, kLowerAt);
        for (std::size_t at = kPageHead; at + kPointer <= std::min(lower, kPage); at += kPointer) {
            const auto pointer = load<std::uint32_t>(page, at);
            if (((pointer >> 15) & 3) != kNormal) continue;
            if (const auto found = relation_of_row(page, pointer & 0x7fff, pointer >> 17))
                relations.push_back(*found);
        }
    }
    return relations;
}

}  // namespace chronos::pgdata
