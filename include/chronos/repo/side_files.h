#pragma once

#include <string>
#include <string_view>

#include "chronos/repo/repository.h"

namespace chronos::repo {

/// Files of our own lie in chronos/<stanza>, and only beside the stanza itself: a directory whose
/// file system is not mounted gets nothing. Asked before each of them is written, on a storage
/// with directories; kind path_missing, transient, where there is neither archive nor backup
/// directory of the stanza. Nothing to say about other objects.
Result<> check_side_file(const Repository& repository, std::string_view object);

/// For those that are no texts of proven_text.h, which are checked as well.
Result<> write_side_file(const Repository& repository, const std::string& object,
                         std::string_view content);

}  // namespace chronos::repo
