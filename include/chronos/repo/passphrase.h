#pragma once

#include <string>
#include <string_view>

#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

/// What of a stored text is the passphrase's fault, and what is damage.
///
/// The first cipher block depends on the passphrase and the salt alone, and a text of the format
/// begins with a section: a passphrase that opens it is the right one, whatever is wrong behind. So
/// read_text() fails with kind crypto ("wrong passphrase", "is encrypted but", "is not encrypted
/// but") only where the configuration is to be looked at, and with kind format where the file is.
namespace chronos::repo {

/// Whether `text`, or its beginning, is what a text of the format begins with: "[" and the name of
/// a section. Of random bytes, which a wrong passphrase gives, one in ten million is.
bool begins_as_section(std::string_view text);

/// The text of archive.info, backup.info or the copy of one, with the passphrase of the repository
/// or the one before. Of kind crypto if neither opens it, of kind format if one does and the file
/// is damaged.
Result<std::string> read_info_text(const Repository& repository, const std::string& name);

}  // namespace chronos::repo
