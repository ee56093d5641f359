#include "chronos/present/wal_report.h"

#include <nlohmann/json.hpp>

#include "chronos/base/text.h"

namespace chronos::present {
namespace {

using nlohmann::json;
namespace windows = ops::windows;
using windows::Window;

/// A type for what both formats begin a row with.
json place_object(const windows::Place& place, Timeline timeline) {
    return {{"repo", place.repo_key}, {"archive-id", place.archive_id}, {"timeline", timeline}};
}

json stored_object(const windows::StoredRange& range) {
    json row = place_object(range.place, range.timeline);
    row.update({{"first", range.first},
                {"last", range.last},
                {"count", range.count},
                {"stored-bytes", range.stored_bytes},
                {"last-stored", range.last_stored}});
    return row;
}

json missing_object(const windows::MissingRange& range) {
    json row = place_object(range.place, range.timeline);
    row.update(
        {{"first", range.first},
         {"last", range.last},
         {"count", range.count},
         {"dropped", range.dropped},
         {"dropped-until", range.dropped_until == 0 ? json(nullptr) : json(range.dropped_until)}});
    return row;
}

json timeline_object(const windows::TimelineOrigin& origin) {
    json row = place_object(origin.place, origin.timeline);
    row.update({{"parent", origin.parent}, {"switch-lsn", origin.switch_lsn.str()}});
    return row;
}

json window_object(const Window& window) {
    const bool usable = window.end != Window::End::unusable;
    json row = place_object(window.place, window.timeline);
    row.update({{"label", window.label},
                {"type", repo::backup_type_name(window.type)},
                {"from-time", window.from_time},
                {"from-lsn", window.from_lsn.str()},
                {"last-segment", usable ? json(window.last_segment) : json(nullptr)},
                {"to-lsn", usable ? json(window.to_lsn.str()) : json(nullptr)},
                {"to-time", window.to_us ? json(*window.to_us) : json(nullptr)},
                {"streamed", window.streamed},
                {"ends", windows::end_name(window.end)},
                {"starts-after-gap", window.starts_after_gap}});
    return row;
}

template <class Row>
json rows(const std::vector<Row>& all, json (*object)(const Row&)) {
    json result = json::array();
    for (const Row& row : all) result.push_back(object(row));
    return result;
}

std::string begin_line(const windows::Place& place, Timeline timeline) {
    return "repo" + std::to_string(place.repo_key) + " " + place.archive_id + " timeline " +
           std::to_string(timeline);
}

std::string count_text(std::uint64_t count) {
    return std::to_string(count) + (count == 1 ? " segment" : " segments");
}

std::string range_text(const std::string& first, const std::string& last, std::uint64_t count) {
    return first + (count == 1 ? "" : " to " + last) + ", " + count_text(count);
}

std::string window_text(const Window& window) {
    std::string text = begin_line(window.place, window.timeline) + ": " + window.label + " from " +
                       format_local_time(window.from_time) + " (" + window.from_lsn.str() + ") ";
    if (window.end == Window::End::unusable)
        return text + "cannot be used: WAL between its start and its end is missing\n";
    text += "to ";
    text += window.to_us ? format_local_time(*window.to_us / 1000000) + " " : "";
    text += "(" + window.to_lsn.str() + ")";
    if (window.streamed) text += ", the end streamed";
    if (window.end == Window::End::gap) text += ", where WAL is missing";
    if (window.starts_after_gap) text += "; first backup after missing WAL";
    return text + "\n";
}

}  // namespace

json wal_report_json(const windows::Report& report) {
    return {{"wal", rows(report.stored, stored_object)},
            {"missing", rows(report.missing, missing_object)},
            {"timeline", rows(report.timelines, timeline_object)},
            {"window", rows(report.windows, window_object)}};
}

std::string format_wal_report(const windows::Report& report) {
    std::string text = "archived WAL\n";
    for (const auto& one : report.stored)
        text += "    " + begin_line(one.place, one.timeline) + ": " +
                range_text(one.first, one.last, one.count) + ", " + format_size(one.stored_bytes) +
                "\n";
    for (const auto& one : report.timelines)
        text += "    " + begin_line(one.place, one.timeline) + ": begins where timeline " +
                std::to_string(one.parent) + " was left, at " + one.switch_lsn.str() + "\n";
    text += "missing WAL\n";
    for (const auto& one : report.missing)
        text += "    " + begin_line(one.place, one.timeline) + ": " +
                range_text(one.first, one.last, one.count) +
                (one.dropped ? ", dropped because of archive-push-queue-max until " +
                                   format_local_time(one.dropped_until)
                             : "") +
                "\n";
    text += "recovery windows\n";
    for (const Window& window : report.windows) text += "    " + window_text(window);
    return text;
}

}  // namespace chronos::present
