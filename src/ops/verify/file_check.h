#pragma once

#include <optional>
#include <set>
#include <string>

#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"
#include "ops/verify/findings.h"

namespace chronos::ops::verify {

/// What is wrong with a file, in words.
struct Damage {
    Problem problem = Problem::other;
    std::string message;
};

/// How much of a block-incremental file is put together at a time.
inline constexpr std::uint64_t kRebuildWindow = std::uint64_t{32} << 20;

struct FileCheck {
    const repo::Repository& repository;
    const std::string& stanza;
    const repo::Manifest& manifest;
    const repo::ManifestFile& file;     ///< stored by this backup itself, size > 0
    const std::set<std::string>& gone;  ///< backups that blocks cannot be read from
    bool content = true;                ///< see below
};

/// With `content` reads the file as a restore would and compares its SHA-1, that of the stored
/// bytes where the manifest has it, and of a block-incremental file every block with its map. The
/// blocks that this backup stores are read once; those of older backups are read to put the file
/// together.
///
/// Without, and where the manifest has the SHA-1 of the stored bytes: that these are still the ones
/// that the backup wrote, and that a block map can be read and leads to backups that are there.
///
/// nullopt if all is right. Errors are those that say nothing about the file.
Result<std::optional<Damage>> check_file(const FileCheck& check);

/// The damage that an error of reading shows, or that error.
Result<std::optional<Damage>> as_damage(Error error);

}  // namespace chronos::ops::verify
