#pragma once

#include <cstdint>
#include <string_view>

namespace chronos::repo {

// Names that the reader and the writer of manifests and info files share.
// Source: docs/format/manifest.md, Sections.
inline constexpr std::string_view kBackupSection = "backup";
inline constexpr std::string_view kBackupDatabaseSection = "backup:db";
inline constexpr std::string_view kOptionSection = "backup:option";
inline constexpr std::string_view kTargetSection = "backup:target";
inline constexpr std::string_view kCipherSection = "cipher";
inline constexpr std::string_view kCipherPassKey = "cipher-pass";
inline constexpr std::string_view kDatabaseSection = "db";
inline constexpr std::string_view kMetadataSection = "metadata";
inline constexpr std::string_view kFileSection = "target:file";
inline constexpr std::string_view kFileDefaultSection = "target:file:default";
inline constexpr std::string_view kLinkSection = "target:link";
inline constexpr std::string_view kLinkDefaultSection = "target:link:default";
inline constexpr std::string_view kPathSection = "target:path";
inline constexpr std::string_view kPathDefaultSection = "target:path:default";

/// "bi" counts in these; "bic" is left out when it is the default.
/// Source: docs/format/bundles-and-blocks.md, Names and keys.
inline constexpr std::uint32_t kBlockSizeUnit = 8192;
inline constexpr std::uint32_t kBlockChecksumSizeDefault = 6;

}  // namespace chronos::repo
