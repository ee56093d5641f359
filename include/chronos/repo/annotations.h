#pragma once

#include <map>
#include <string>
#include <string_view>

#include "chronos/base/result.h"

namespace chronos::repo {

/// The one judge of annotations, for every door they come in by, before anything is done: keys as
/// check_annotation_key() has them, and texts that are UTF-8 without control characters other than
/// tab and line feed, because they are printed and become JSON. Kind option_invalid_value.
Result<> check_annotations(const std::map<std::string, std::string>& annotations);

/// Of one such text, `what` it is: "the text of annotation 'x'", "the reason of the hold".
Result<> check_text(const std::string& what, std::string_view text);

}  // namespace chronos::repo
