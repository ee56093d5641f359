#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/signing.h"
#include "chronos/storage/s3/s3_storage.h"
#include "storage/s3/client.h"
#include "storage/s3/upload.h"
#include "storage/s3/xml.h"

namespace chronos::storage {
namespace s3 {
namespace {

constexpr std::size_t kDeleteBatch = 1000;

UnixTime parse_last_modified(const std::string& text) {
    std::tm parts{};
    if (strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S", &parts) == nullptr) return 0;
    return timegm(&parts);
}

std::string range_header(const Range& range, std::uint64_t done_bytes) {
    const std::uint64_t first = range.offset_bytes + done_bytes;
    std::string text = "bytes=" + std::to_string(first) + "-";
    if (range.size_bytes) text += std::to_string(range.offset_bytes + *range.size_bytes - 1);
    return text;
}

/// "bytes */500": the size of the object in an answer 416.
std::optional<std::uint64_t> size_in_content_range(const http::Stream& stream) {
    const auto range = stream.headers().find("content-range");
    if (range == stream.headers().end()) return std::nullopt;
    const std::size_t slash = range->second.rfind('/');
    if (slash == std::string::npos) return std::nullopt;
    return parse_uint(trim(std::string_view(range->second).substr(slash + 1)));
}

/// Reads an object, and goes on where it was when the connection breaks in the middle: S3 cannot
/// tell a cut body from a whole one, the promised length can.
class ObjectSource final : public io::Source {
public:
    ObjectSource(std::shared_ptr<Client> client, Call call, Range range)
        : client_(std::move(client)), call_(std::move(call)), range_(range) {}

    /// Sends the request: not_found must show before anything is read.
    Result<> start();
    Result<std::size_t> read(io::MutableBytes out) override;

private:
    /// How often one read() goes on after a broken body; each time has its own repetitions.
    static constexpr unsigned kContinuationsMax = 5;

    Result<> judge_start(bool ranged);
    Result<> judge_unsatisfiable();
    Error too_short() const {
        return Error(ErrorKind::file_read,
                     "object " + client_->describe(call_.key) + " ends before the range asked for");
    }
    /// How many bytes are to come in all; nullopt if the store did not say.
    std::optional<std::uint64_t> expected() const {
        return range_.size_bytes ? range_.size_bytes : promised_;
    }

    std::shared_ptr<Client> client_;
    const Call call_;
    const Range range_;
    std::unique_ptr<http::Stream> stream_;  // none: the object does not reach to the range
    std::uint64_t done_ = 0;
    std::string etag_;
    std::optional<std::uint64_t> promised_;
};

Result<> ObjectSource::start() {
    Call call = call_;
    const bool ranged = range_.offset_bytes + done_ > 0 || range_.size_bytes;
    if (ranged) call.headers.emplace_back("range", range_header(range_, done_));
    // A reader that goes on must go on in the same object, not in one put there meanwhile.
    if (!etag_.empty()) call.headers.emplace_back("if-match", etag_);
    stream_.reset();
    stream_ = CHRONOS_TRY(client_->open(call));
    return judge_start(ranged);
}

Result<> ObjectSource::judge_start(bool ranged) {
    if (stream_->status() == 416) return judge_unsatisfiable();
    const auto& headers = stream_->headers();
    if (ranged && stream_->status() != 206 && range_.offset_bytes + done_ > 0)
        return Error(ErrorKind::service, "get object " + client_->describe(call_.key) +
                                             ": the store ignored the range asked for");
    if (const auto etag = headers.find("etag"); etag != headers.end()) etag_ = etag->second;
    const auto length = headers.find("content-length");
    promised_ = length == headers.end() ? std::nullopt : parse_uint(length->second);
    if (promised_) promised_ = *promised_ + done_;
    return {};
}

/// The end of an object is a place one may read from to its end, and find nothing.
Result<> ObjectSource::judge_unsatisfiable() {
    auto size = size_in_content_range(*stream_);
    stream_.reset();
    if (!size) {
        Call call = call_;
        call.operation = "look at object";
        call.method = "HEAD";
        size = parse_uint(CHRONOS_TRY(client_->perform(call)).header("content-length"));
    }
    const bool at_end = size == range_.offset_bytes && !range_.size_bytes;
    promised_ = at_end ? 0 : 1;
    return {};
}

Result<std::size_t> ObjectSource::read(io::MutableBytes out) {
    for (unsigned tries = 0;; ++tries) {
        if (!stream_) {
            if (promised_ == std::uint64_t{0}) return std::size_t{0};
            return too_short();
        }
        if (range_.size_bytes) {
            const std::uint64_t left = *range_.size_bytes - done_;
            if (left == 0) return std::size_t{0};
            out = out.first(std::min<std::uint64_t>(out.size(), left));
        }
        auto count = stream_->read(out);
        if (count && *count > 0) {
            done_ += *count;
            return count;
        }
        if (!count && count.error().kind() == ErrorKind::cancelled) return count;
        const auto all = expected();
        if (count && (!all || done_ >= *all)) return std::size_t{0};
        // A body that is whole by its own measure: the object is smaller than the range.
        if (count && promised_ && done_ >= *promised_) return too_short();
        if (tries == kContinuationsMax) {
            if (count) return too_short();
            return std::move(count).error().while_doing("read " + client_->describe(call_.key));
        }
        log_detail("body of " + client_->describe(call_.key) + " was cut after " +
                   std::to_string(done_) + " bytes: going on from there");
        CHRONOS_TRY(start());
    }
}

/// An empty range needs no request.
class EmptySource final : public io::Source {
public:
    Result<std::size_t> read(io::MutableBytes) override { return std::size_t{0}; }
};

class S3Storage final : public Storage, private MultipartUploads {
public:
    explicit S3Storage(std::shared_ptr<Client> client) : client_(std::move(client)) {}

    Features features() const override { return {.remote = true}; }
    std::string describe(const ObjectName& name) const override {
        return client_->describe(key(name));
    }

    Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range) override;
    Result<std::unique_ptr<io::Sink>> create(const ObjectName& name, WriteMode mode) override {
        CHRONOS_TRY(check_name(name));
        CHRONOS_TRY(writable());
        return make_upload(client_, key(name), mode);
    }
    Result<std::optional<Entry>> info(const ObjectName& name) override;
    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& name_prefix) override;
    Result<std::vector<Entry>> list_tree(const ObjectName& directory) override;
    Result<> remove(const ObjectName& name) override;
    Result<> remove_tree(const ObjectName& directory) override;
    Result<> make_path(const ObjectName&) override { return {}; }
    Result<> make_link(const ObjectName&, const std::string&) override { return {}; }
    Result<> sync_tree(const ObjectName&) override { return {}; }

    MultipartUploads* uploads() override { return this; }

private:
    Result<std::vector<PendingUpload>> pending() override;
    Result<> abort(const PendingUpload& upload) override;
    Result<PendingUpload> begin(const ObjectName& name) override;

    std::string key(const ObjectName& name) const {
        const std::string& prefix = client_->options().prefix;
        if (prefix.empty()) return name;
        return name.empty() ? prefix : prefix + "/" + name;
    }
    /// The prefix that keys in a directory begin with.
    std::string directory_key(const ObjectName& directory) const {
        const std::string whole = key(directory);
        return whole.empty() ? "" : whole + "/";
    }
    Result<> check_name(const ObjectName& name) const {
        if (is_object_name(name)) return {};
        return Error(ErrorKind::format, "'" + printable(name) + "' is not a name of an object");
    }
    Result<> check_directory(const ObjectName& name) const {
        return name.empty() ? Result<>() : check_name(name);
    }
    Result<> writable() const {
        if (!client_->options().target_time) return {};
        return Error(ErrorKind::option_invalid, "a repository with repo-target-time is read-only");
    }
    template <class Value>
    Result<Value> ask(const Call& call, Result<Value> (*parse)(std::string_view));
    Result<std::vector<ListedItem>> list_items(const std::string& prefix, bool recursive);
    Result<std::vector<ListedItem>> list_versions(const std::string& prefix, bool recursive);
    Result<std::optional<ListedItem>> version_of(const std::string& object_key);
    Result<> remove_batch(const std::vector<std::string>& keys);

    std::shared_ptr<Client> client_;
};

/// The parsed answer to a call; one that was cut short on its way is asked for again.
template <class Value>
Result<Value> S3Storage::ask(const Call& call, Result<Value> (*parse)(std::string_view)) {
    Value value;
    const AnswerCheck check = [&](const http::Response& response) -> Result<> {
        value = CHRONOS_TRY(parse(response.body));
        return {};
    };
    CHRONOS_TRY(client_->perform(call, check));
    return value;
}

Result<std::vector<ListedItem>> S3Storage::list_items(const std::string& prefix, bool recursive) {
    if (client_->options().target_time) return list_versions(prefix, recursive);
    std::vector<ListedItem> items;
    std::string token;
    do {
        Call call;
        call.operation = "list objects";
        call.query = {{"list-type", "2"}, {"prefix", prefix}};
        if (!recursive) call.query.emplace_back("delimiter", "/");
        if (!token.empty()) call.query.emplace_back("continuation-token", token);
        ListPage page = CHRONOS_TRY(ask(call, parse_list_page));
        items.insert(items.end(), std::make_move_iterator(page.items.begin()),
                     std::make_move_iterator(page.items.end()));
        if (page.truncated && (page.continuation_token.empty() || page.continuation_token == token))
            return Error(ErrorKind::service,
                         "list objects " + client_->describe(prefix) + ": a listing without end");
        token = page.truncated ? page.continuation_token : "";
    } while (!token.empty());
    return items;
}

/// The bucket as it was: per key the newest version not later than the target time decides, and a
/// delete marker says that there was none. Source: docs/format/s3.md, Versioned buckets.
Result<std::vector<ListedItem>> S3Storage::list_versions(const std::string& prefix,
                                                         bool recursive) {
    std::vector<ListedItem> items;
    std::set<std::string> decided;
    std::string key_marker;
    std::string version_marker;
    for (bool more = true; more;) {
        Call call;
        call.operation = "list versions";
        call.query = {{"versions", ""}, {"prefix", prefix}};
        if (!recursive) call.query.emplace_back("delimiter", "/");
        if (!key_marker.empty()) call.query.emplace_back("key-marker", key_marker);
        if (!version_marker.empty()) call.query.emplace_back("version-id-marker", version_marker);
        ListPage page = CHRONOS_TRY(ask(call, parse_list_page));
        for (ListedItem& item : page.items) {
            if (item.kind == ListedItem::Kind::prefix) {
                items.push_back(std::move(item));
                continue;
            }
            if (item.modified > *client_->options().target_time || !decided.insert(item.key).second)
                continue;
            if (item.kind == ListedItem::Kind::version) items.push_back(std::move(item));
        }
        more = page.truncated;
        if (more && page.next_key_marker == key_marker &&
            page.next_version_marker == version_marker)
            return Error(ErrorKind::service,
                         "list versions " + client_->describe(prefix) + ": a listing without end");
        key_marker = page.next_key_marker;
        version_marker = page.next_version_marker;
    }
    return items;
}

Result<std::optional<ListedItem>> S3Storage::version_of(const std::string& object_key) {
    for (ListedItem& item : CHRONOS_TRY(list_versions(object_key, false)))
        if (item.key == object_key && item.kind == ListedItem::Kind::version)
            return std::optional(std::move(item));
    return std::optional<ListedItem>{};
}

Result<std::unique_ptr<io::Source>> S3Storage::open(const ObjectName& name, Range range) {
    CHRONOS_TRY(check_name(name));
    if (range.size_bytes == std::uint64_t{0}) return std::make_unique<EmptySource>();
    Call call;
    call.operation = "get object";
    call.key = key(name);
    call.headers = client_->customer_key_headers();
    if (client_->options().target_time) {
        const auto version = CHRONOS_TRY(version_of(call.key));
        if (!version)
            return Error(ErrorKind::not_found, "unable to open missing file '" + describe(name) +
                                                   "' for read at the target time");
        call.query = {{"versionId", version->version_id}};
    }
    auto source = std::make_unique<ObjectSource>(client_, std::move(call), range);
    if (auto started = source->start(); !started) {
        if (started.error().kind() == ErrorKind::not_found)
            return Error(ErrorKind::not_found,
                         "unable to open missing file '" + describe(name) + "' for read");
        return std::move(started).error();
    }
    return source;
}

Result<std::optional<Entry>> S3Storage::info(const ObjectName& name) {
    CHRONOS_TRY(check_directory(name));
    Entry entry;
    entry.name = name.substr(name.rfind('/') + 1);
    if (client_->options().target_time) {
        if (const auto version = CHRONOS_TRY(version_of(key(name)))) {
            entry.size = version->size;
            entry.modified = version->modified;
            return std::optional(entry);
        }
    } else if (!name.empty()) {
        Call call;
        call.operation = "look at object";
        call.method = "HEAD";
        call.key = key(name);
        call.headers = client_->customer_key_headers();
        auto response = client_->perform(call);
        if (response) {
            entry.size = parse_uint(response->header("content-length")).value_or(0);
            entry.modified = parse_last_modified(response->header("last-modified"));
            return std::optional(entry);
        }
        if (response.error().kind() != ErrorKind::not_found) return std::move(response).error();
    }
    // There are no directories: one exists when something lies in it.
    Call call;
    call.operation = "list objects";
    call.query = {{"list-type", "2"}, {"prefix", directory_key(name)}, {"max-keys", "1"}};
    const ListPage page = CHRONOS_TRY(ask(call, parse_list_page));
    if (page.items.empty() && !name.empty()) return std::optional<Entry>{};
    entry.type = EntryType::path;
    return std::optional(entry);
}

Result<std::vector<Entry>> S3Storage::list(const ObjectName& directory,
                                           const std::string& name_prefix) {
    CHRONOS_TRY(check_directory(directory));
    const std::string prefix = directory_key(directory);
    std::vector<Entry> entries;
    for (ListedItem& item : CHRONOS_TRY(list_items(prefix + name_prefix, false))) {
        std::string name = item.key.substr(prefix.size());
        Entry entry;
        if (item.kind == ListedItem::Kind::prefix) {
            entry.type = EntryType::path;
            if (name.ends_with('/')) name.pop_back();
        }
        if (name.empty()) continue;
        entry.name = std::move(name);
        entry.size = item.size;
        entry.modified = item.modified;
        entry.storage_class = item.storage_class;
        entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return entries;
}

Result<std::vector<Entry>> S3Storage::list_tree(const ObjectName& directory) {
    CHRONOS_TRY(check_directory(directory));
    const std::string prefix = directory_key(directory);
    std::vector<Entry> entries;
    for (ListedItem& item : CHRONOS_TRY(list_items(prefix, true))) {
        if (item.key.size() <= prefix.size() || item.key.ends_with('/')) continue;
        Entry entry;
        entry.name = item.key.substr(prefix.size());
        entry.size = item.size;
        entry.modified = item.modified;
        entry.storage_class = item.storage_class;
        entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return entries;
}

Result<> S3Storage::remove(const ObjectName& name) {
    CHRONOS_TRY(check_name(name));
    CHRONOS_TRY(writable());
    Call call;
    call.operation = "delete object";
    call.method = "DELETE";
    call.key = key(name);
    auto response = client_->perform(call);
    if (!response && response.error().kind() != ErrorKind::not_found)
        return std::move(response).error();
    return {};
}

Result<> S3Storage::remove_batch(const std::vector<std::string>& keys) {
    std::string body = "<Delete><Quiet>true</Quiet>";
    for (const std::string& each : keys)
        body += "<Object><Key>" + escape_xml(each) + "</Key></Object>";
    body += "</Delete>";
    Call call;
    call.operation = "delete objects";
    call.method = "POST";
    call.query = {{"delete", ""}};
    call.headers = {{"content-md5", crypto::base64(crypto::md5(io::bytes(body)))}};
    call.body = io::bytes(body);
    for (const ErrorDocument& error : CHRONOS_TRY(ask(call, parse_delete_errors))) {
        if (error.code == "NoSuchKey") continue;
        // One of many was refused: alone it gets the retries, and an error that names it.
        Call single;
        single.operation = "delete object";
        single.method = "DELETE";
        single.key = error.key;
        CHRONOS_TRY(client_->perform(single));
    }
    return {};
}

Result<> S3Storage::remove_tree(const ObjectName& directory) {
    CHRONOS_TRY(check_directory(directory));
    CHRONOS_TRY(writable());
    const std::vector<ListedItem> items = CHRONOS_TRY(list_items(directory_key(directory), true));
    std::vector<std::string> batch;
    for (const ListedItem& item : items) {
        batch.push_back(item.key);
        if (batch.size() < kDeleteBatch) continue;
        CHRONOS_TRY(remove_batch(batch));
        batch.clear();
    }
    if (!batch.empty()) CHRONOS_TRY(remove_batch(batch));
    return {};
}

Result<std::vector<PendingUpload>> S3Storage::pending() {
    std::vector<PendingUpload> uploads;
    const std::string prefix = directory_key("");
    UploadPage page;
    do {
        Call call;
        call.operation = "list uploads";
        call.query = {{"uploads", ""}, {"prefix", prefix}};
        if (page.truncated) {
            call.query.emplace_back("key-marker", page.next_key_marker);
            call.query.emplace_back("upload-id-marker", page.next_upload_id_marker);
        }
        page = CHRONOS_TRY(ask(call, parse_upload_page));
        for (const UploadPage::Item& item : page.items)
            if (item.key.starts_with(prefix))
                uploads.push_back({item.key.substr(prefix.size()), item.upload_id, item.initiated});
    } while (page.truncated && !page.items.empty());
    return uploads;
}

Result<> S3Storage::abort(const PendingUpload& upload) {
    Call call;
    call.operation = "abort upload";
    call.method = "DELETE";
    call.key = key(upload.name);
    call.query = {{"uploadId", upload.upload_id}};
    auto response = client_->perform(call);
    if (!response && response.error().kind() != ErrorKind::not_found)
        return std::move(response).error();
    return {};
}

Result<PendingUpload> S3Storage::begin(const ObjectName& name) {
    CHRONOS_TRY(check_name(name));
    CHRONOS_TRY(writable());
    auto id = CHRONOS_TRY(begin_upload(*client_, key(name)));
    return PendingUpload{name, std::move(id), unix_now()};
}

}  // namespace
}  // namespace s3

Result<std::unique_ptr<Storage>> make_s3_storage(S3Options options) {
    std::shared_ptr<s3::Client> client = CHRONOS_TRY(s3::Client::make(std::move(options)));
    return std::make_unique<s3::S3Storage>(std::move(client));
}

}  // namespace chronos::storage
