#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "chronos/crypto/hash.h"
#include "chronos/repo/manifest.h"
#include "ops/verify/findings.h"

namespace chronos::ops::verify {

/// What one backup stores itself, as later backups that refer to it need to know: 24 bytes a file,
/// where the manifest has some hundred.
class StoredTable {
public:
    struct Row {
        std::uint64_t name = 0;   ///< hash
        std::uint64_t place = 0;  ///< hash of where it lies and what it is
        FindingId finding = kNoFinding;
    };

    void add(const repo::ManifestFile& file, FindingId finding) {
        rows_.push_back({hash(file.name), place_of(file), finding});
    }
    void finish() { std::ranges::sort(rows_, {}, &Row::name); }

    /// nullptr if the backup stores no such file.
    const Row* find(std::string_view name) const {
        const std::uint64_t key = hash(name);
        const auto at = std::ranges::lower_bound(rows_, key, {}, &Row::name);
        return at != rows_.end() && at->name == key ? &*at : nullptr;
    }

    static std::uint64_t place_of(const repo::ManifestFile& file) {
        return hash(std::to_string(file.size) + " " + std::to_string(file.repo_size) + " " +
                    std::to_string(file.bundle_id) + " " + std::to_string(file.bundle_offset) +
                    " " + std::to_string(file.block_map_size) + " " +
                    std::string(file.expected_checksum()));
    }

private:
    static std::uint64_t hash(std::string_view text) {
        const auto digest = crypto::xxh3_128(io::bytes(text));
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof value; ++i)
            value = value << 8 | std::to_integer<std::uint64_t>(digest[i]);
        return value;
    }

    std::vector<Row> rows_;
};

}  // namespace chronos::ops::verify
