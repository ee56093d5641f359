// The storage contract against a real server: test/tap/501_s3_contract.pl starts one, describes it
// in TEST_S3_* variables and runs these tests, which are disabled where there is none.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include "chronos/io/worker_pool.h"
#include "chronos/storage/s3/s3_storage.h"
#include "storage_contract.h"

namespace chronos::test {
namespace {

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr)
        throw std::runtime_error(std::string(name) +
                                 " is not set: run test/tap/501_s3_contract.pl");
    return value;
}

/// A prefix a test: none sees what another left.
storage::S3Options options_of_the_server() {
    static int count = 0;
    storage::S3Options options;
    options.bucket = variable("TEST_S3_BUCKET");
    options.prefix = "test/" + std::to_string(getpid()) + "-" + std::to_string(++count);
    options.endpoint = variable("TEST_S3_ENDPOINT");
    options.region = "us-east-1";
    options.path_style = true;
    options.service = "s3";
    options.upload_chunk_size_bytes = 5 << 20;
    options.io_timeout = std::chrono::minutes(1);
    options.retry_for = std::chrono::minutes(1);
    options.key = variable("TEST_S3_KEY");
    options.key_secret = variable("TEST_S3_SECRET");
    options.ca_file = variable("TEST_S3_CA_FILE");
    return options;
}

template <bool kPathStyle>
class S3Fixture {
public:
    S3Fixture() {
        storage::S3Options options = options_of_the_server();
        if (!kPathStyle) {
            options.path_style = false;
            options.host = options.endpoint;
            options.endpoint = variable("TEST_S3_HOST_STYLE");
        }
        storage_ = storage::make_s3_storage(std::move(options)).value();
    }
    storage::Storage& storage() { return *storage_; }

private:
    std::unique_ptr<storage::Storage> storage_;
};

using PathStyle = S3Fixture<true>;
using HostStyle = S3Fixture<false>;
INSTANTIATE_TYPED_TEST_SUITE_P(DISABLED_S3PathStyle, StorageContract, PathStyle);
INSTANTIATE_TYPED_TEST_SUITE_P(DISABLED_S3HostStyle, StorageContract, HostStyle);

std::unique_ptr<storage::Storage> open(const storage::S3Options& options) {
    return storage::make_s3_storage(options).value();
}

/// Beyond the contract: what only an object store has.
TEST(DISABLED_S3Server, AListingOfManyPagesIsWhole) {
    const auto store = open(options_of_the_server());
    constexpr std::size_t kObjects = 2300;  // a page has a thousand
    const Cancellation cancel;
    ASSERT_OK(io::parallel_for(16, kObjects, cancel, [&](std::size_t index) {
        return storage::write_object(*store, "d/" + std::to_string(100000 + index), "x");
    }));
    const auto entries = store->list("d");
    ASSERT_OK(entries);
    EXPECT_EQ(entries->size(), kObjects);
    EXPECT_EQ(store->list_tree("")->size(), kObjects);
    ASSERT_OK(store->remove_tree("d"));
    EXPECT_TRUE(store->list_tree("")->empty());
}

TEST(DISABLED_S3Server, ObjectsOfAnySizeAroundThePartsReadBack) {
    storage::S3Options options = options_of_the_server();
    for (const std::size_t size :
         {(5u << 20) - 1, 5u << 20, (5u << 20) + 1, 10u << 20, 62u << 20}) {
        SCOPED_TRACE(size);
        const auto store = open(options);
        const std::string content = numbered_bytes(size);
        ASSERT_OK(storage::write_object(*store, "object", content));
        const auto read = storage::read_object(*store, "object");
        ASSERT_OK(read);
        EXPECT_TRUE(*read == content);
    }
}

TEST(DISABLED_S3Server, ObjectsUnderACustomersKeyNeedIt) {
    storage::S3Options options = options_of_the_server();
    options.customer_key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const std::string content = numbered_bytes(11u << 20);
    ASSERT_OK(storage::write_object(*open(options), "small", "content"));
    ASSERT_OK(storage::write_object(*open(options), "large", content));
    EXPECT_EQ(*storage::read_object(*open(options), "small"), "content");
    EXPECT_TRUE(*storage::read_object(*open(options), "large") == content);
    const auto info = open(options)->info("small");
    ASSERT_OK(info);
    EXPECT_EQ((*info)->size, 7u);
    options.customer_key = "";
    EXPECT_FALSE(static_cast<bool>(storage::read_object(*open(options), "small")));
}

TEST(DISABLED_S3Server, KmsKeysAndTagsAreAccepted) {
    storage::S3Options options = options_of_the_server();
    options.kms_key_id = "testkey-1";
    options.tags = {{"purpose", "backup & more"}, {"env", "test"}};
    const std::string content = numbered_bytes(11u << 20);
    ASSERT_OK(storage::write_object(*open(options), "small", "content"));
    ASSERT_OK(storage::write_object(*open(options), "large", content));
    EXPECT_EQ(*storage::read_object(*open(options), "small"), "content");
    EXPECT_TRUE(*storage::read_object(*open(options), "large") == content);
}

TEST(DISABLED_S3Server, AnUploadThatWasLeftIsFoundAndAborted) {
    const auto store = open(options_of_the_server());
    auto sink = store->create("left", storage::WriteMode::atomic);
    ASSERT_OK(sink);
    ASSERT_OK((*sink)->write(io::bytes(numbered_bytes(6u << 20))));
    const auto pending = store->uploads()->pending();
    ASSERT_OK(pending);
    ASSERT_EQ(pending->size(), 1u);
    EXPECT_EQ(pending->front().name, "left");
    EXPECT_NEAR(static_cast<double>(pending->front().initiated), static_cast<double>(unix_now()),
                60);
    EXPECT_TRUE(store->list("")->empty());
    ASSERT_OK(store->uploads()->abort(pending->front()));
    // It is gone, which was wanted.
    EXPECT_OK(store->uploads()->abort(pending->front()));
    EXPECT_TRUE(store->uploads()->pending()->empty());
}

TEST(DISABLED_S3Server, AnUploadThatIsGivenUpLeavesNothing) {
    const auto store = open(options_of_the_server());
    {
        auto sink = store->create("given/up", storage::WriteMode::atomic);
        ASSERT_OK(sink);
        ASSERT_OK((*sink)->write(io::bytes(numbered_bytes(16u << 20))));
    }
    EXPECT_TRUE(store->list_tree("")->empty());
    EXPECT_TRUE(store->uploads()->pending()->empty());
}

/// The bucket `versioned` keeps what is overwritten and removed.
TEST(DISABLED_S3Server, AVersionedBucketIsReadAsItWas) {
    storage::S3Options options = options_of_the_server();
    options.bucket = "versioned";
    const auto now = open(options);
    ASSERT_OK(storage::write_object(*now, "d/kept", "first"));
    ASSERT_OK(storage::write_object(*now, "d/gone", "gone"));
    for (int i = 0; i < 600; ++i) ASSERT_OK(storage::write_object(*now, "d/many", "x"));
    sleep(2);  // versions are told apart by whole seconds
    options.target_time = unix_now() - 1;
    ASSERT_OK(storage::write_object(*now, "d/kept", "second"));
    ASSERT_OK(now->remove("d/gone"));
    ASSERT_OK(storage::write_object(*now, "d/later", "later"));
    for (int i = 0; i < 600; ++i) ASSERT_OK(storage::write_object(*now, "d/many", "y"));

    const auto then = open(options);
    std::vector<std::string> names;
    const auto entries = then->list("d");
    ASSERT_OK(entries);
    for (const auto& entry : *entries) names.push_back(entry.name);
    EXPECT_EQ(names, (std::vector<std::string>{"gone", "kept", "many"}));
    EXPECT_EQ(*storage::read_object(*then, "d/kept"), "first");
    EXPECT_EQ(*storage::read_object(*then, "d/gone"), "gone");
    EXPECT_EQ(*storage::read_object(*then, "d/many"), "x");
    EXPECT_ERROR(ErrorKind::not_found, then->open("d/later"));
    EXPECT_FALSE(*storage::exists(*then, "d/later"));
    EXPECT_EQ((*then->info("d/kept"))->size, 5u);
    EXPECT_ERROR(ErrorKind::option_invalid, storage::write_object(*then, "d/new", "x"));
    EXPECT_ERROR(ErrorKind::option_invalid, then->remove("d/kept"));
}

TEST(DISABLED_S3Server, WrongKeysBucketAndAuthorityAreToldApart) {
    const auto error_of = [](const storage::S3Options& options) {
        const auto opened = open(options)->open("x");
        return opened ? "no error" : opened.error().text();
    };
    storage::S3Options options = options_of_the_server();
    options.key_secret = "wrong-secret";
    EXPECT_THAT(error_of(options), testing::AllOf(testing::HasSubstr("SignatureDoesNotMatch"),
                                                  testing::HasSubstr("repo-s3-key-secret"),
                                                  testing::Not(testing::HasSubstr("wrong-"))));
    options = options_of_the_server();
    options.key = "nobody";
    EXPECT_THAT(error_of(options), testing::HasSubstr("repo-s3-key."));
    options = options_of_the_server();
    options.bucket = "no-such-bucket";
    EXPECT_THAT(error_of(options), testing::HasSubstr("repo-s3-bucket"));
    options = options_of_the_server();
    options.ca_file = "";
    EXPECT_THAT(error_of(options), testing::HasSubstr("repo-storage-ca-file"));
    options.verify_tls = false;
    EXPECT_ERROR(ErrorKind::not_found, open(options)->open("x"));
}

/// Our ends of all connections to the server, those that were closed a moment ago too: the kernel
/// keeps these for a minute.
std::set<std::string> connections_to_the_server() {
    const std::string endpoint = variable("TEST_S3_ENDPOINT");
    std::array<char, 8> port{};
    std::snprintf(port.data(), port.size(), "%04X",
                  std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
    std::set<std::string> ports;
    for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
        std::ifstream file(table);
        std::string number, local, remote, rest;
        std::getline(file, rest);
        while (file >> number >> local >> remote && std::getline(file, rest)) {
            const std::string here = local.substr(local.rfind(':') + 1);
            const std::string there = remote.substr(remote.rfind(':') + 1);
            // Of one that the server has closed only its row is left.
            if (there == port.data()) ports.insert(here);
            if (here == port.data()) ports.insert(there);
        }
    }
    return ports;
}

TEST(DISABLED_S3Server, ManySmallRequestsShareFewConnections) {
    constexpr std::size_t kRequests = 100;
    const auto store = open(options_of_the_server());
    ASSERT_OK(storage::write_object(*store, "object", numbered_bytes(100000)));
    const std::set<std::string> before = connections_to_the_server();
    for (std::uint64_t i = 0; i < kRequests; ++i) {
        // Whoever knows how much is to come does not read the end of the stream.
        auto source = store->open("object", {.offset_bytes = i * 100, .size_bytes = 100});
        ASSERT_OK(source);
        std::array<std::byte, 100> bytes;
        EXPECT_EQ(*io::read_full(**source, bytes), 100u);
    }
    std::set<std::string> ours = connections_to_the_server();
    std::erase_if(ours, [&](const std::string& port) { return before.contains(port); });
    EXPECT_LT(ours.size(), kRequests / 10);
}

}  // namespace
}  // namespace chronos::test
