#include "chronos/present/json_text.h"

#include <nlohmann/json.hpp>

namespace chronos::present {

std::string text_of(const nlohmann::json& value, int indent) {
    return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json text_or_null(const std::string& text) {
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
}

}  // namespace chronos::present
