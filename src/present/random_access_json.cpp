#include "chronos/present/random_access_json.h"

#include <nlohmann/json.hpp>

#include "chronos/ops/info/info.h"

namespace chronos::present {

nlohmann::json random_access_object(const repo::RandomAccess& access) {
    nlohmann::json largest;
    if (!access.largest_whole.empty())
        largest = {{"name", access.largest_whole}, {"size", access.largest_whole_bytes}};
    return {{"in-parts", access.in_parts_bytes},
            {"largest-whole", largest},
            {"whole", access.whole_bytes}};
}

}  // namespace chronos::present
