#include "chronos/pgdata/wal_drops.h"

#include <algorithm>
#include <string>

#include "chronos/base/text.h"
#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

constexpr std::int8_t kRelationMessage = -2;

/// Takes one thing after the other out of a record; once something is missing nothing is there.
class CommitReader {
public:
    explicit CommitReader(io::Bytes bytes) : bytes_(bytes) {}
    bool good() const { return good_; }
    std::uint32_t word() {
        const io::Bytes part = take(sizeof(std::uint32_t));
        return part.empty() ? 0 : load<std::uint32_t>(part, 0);
    }
    std::uint64_t long_word() {
        const io::Bytes part = take(sizeof(std::uint64_t));
        return part.empty() ? 0 : load<std::uint64_t>(part, 0);
    }
    /// A count, then as many of that size.
    io::Bytes list(std::size_t size) {
        const std::uint64_t count = word();
        return take(count * size);
    }
    io::Bytes take(std::uint64_t size) {
        if (size > bytes_.size()) {
            good_ = false;
            bytes_ = {};
            return {};
        }
        const io::Bytes part = bytes_.first(size);
        bytes_ = bytes_.subspan(size);
        return part;
    }

private:
    io::Bytes bytes_;
    bool good_ = true;
};

/// Kind, database and number, which has 64 bits since 18.
std::size_t statistics_size(std::string_view version) {
    return parse_uint(version).value_or(0) >= 18 ? 16 : 12;
}

std::vector<RelationId> relations_of(io::Bytes messages) {
    std::vector<RelationId> relations;
    for (std::size_t at = 0; at < messages.size(); at += wal_record::kInvalidationSize) {
        if (static_cast<std::int8_t>(std::to_integer<std::uint8_t>(messages[at])) !=
            kRelationMessage)
            continue;
        relations.push_back(
            {load<std::uint32_t>(messages, at + 4), load<std::uint32_t>(messages, at + 8)});
    }
    return relations;
}

std::vector<CatalogKey> keys_of(io::Bytes messages) {
    std::vector<CatalogKey> keys;
    for (std::size_t at = 0; at < messages.size(); at += wal_record::kInvalidationSize)
        if (const auto cache =
                static_cast<std::int8_t>(std::to_integer<std::uint8_t>(messages[at]));
            cache >= 0)
            keys.push_back({cache, load<std::uint32_t>(messages, at + 4),
                            load<std::uint32_t>(messages, at + 8)});
    std::ranges::sort(keys);
    return keys;
}

}  // namespace

bool DefinitionChange::names(const RelationId& relation) const {
    return std::ranges::find(relations, relation) != relations.end();
}

bool DefinitionChange::shares_key_with(const DefinitionChange& other) const {
    return std::ranges::any_of(
        keys, [&](const CatalogKey& key) { return std::ranges::binary_search(other.keys, key); });
}

std::optional<DefinitionChange> parse_definition_change(io::Bytes record, Lsn begin,
                                                        std::string_view version) {
    if (record.size() < wal_record::kHeaderSize) return std::nullopt;
    const auto info = std::to_integer<std::uint8_t>(record[wal_record::kInfoAt]);
    const auto operation = static_cast<std::uint8_t>(info & wal_record::kOperationMask);
    if ((operation != wal_record::kCommit && operation != wal_record::kCommitPrepared) ||
        (info & wal_record::kHasFlags) == 0)
        return std::nullopt;
    const auto at = wal_record::data_at(record, record.size());
    if (!at || *at + sizeof(std::int64_t) > record.size()) return std::nullopt;
    const auto time_us = wal_record::time_us(record, *at);
    if (!time_us) return std::nullopt;
    CommitReader reader(record.subspan(*at + sizeof(std::int64_t)));
    const std::uint32_t flags = reader.word();
    if ((flags & wal_record::kTellsDatabase) != 0) reader.long_word();
    if ((flags & wal_record::kTellsSubtransactions) != 0) reader.list(sizeof(std::uint32_t));
    DefinitionChange change{
        begin, load<std::uint32_t>(record, wal_record::kXidAt), *time_us, {}, {}, false};
    if ((flags & wal_record::kTellsDroppedFiles) != 0)
        change.dropped_files = !reader.list(wal_record::kDroppedFileSize).empty();
    if ((flags & wal_record::kTellsDroppedStatistics) != 0) reader.list(statistics_size(version));
    if ((flags & wal_record::kTellsInvalidations) == 0) return std::nullopt;
    const io::Bytes messages = reader.list(wal_record::kInvalidationSize);
    change.relations = relations_of(messages);
    change.keys = keys_of(messages);
    // Its end has another number, or none.
    if ((flags & wal_record::kTellsPrepared) != 0) change.xid = reader.word();
    if (!reader.good() || change.relations.empty()) return std::nullopt;
    return change;
}

}  // namespace chronos::pgdata
