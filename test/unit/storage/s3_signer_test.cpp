#include "storage/s3/signer.h"

#include <gtest/gtest.h>

#include "chronos/crypto/signing.h"
#include "chronos/http/client.h"

namespace chronos::storage::s3 {
namespace {

std::string signature_of(const SigningInput& input, const Credentials& credentials) {
    const std::string text = authorization(input, credentials);
    return text.substr(text.rfind('=') + 1);
}

/// The examples of the Amazon S3 API reference, "Signature Calculations for the Authorization
/// Header: Transferring Payload in a Single Chunk".
class S3Example : public testing::Test {
protected:
    SigningInput input(const std::string& uri, std::string_view body = "") {
        SigningInput result;
        result.method = "GET";
        result.canonical_uri = uri;
        result.payload_sha256 = crypto::sha256_hex(io::bytes(body));
        result.service = "s3";
        result.time = 1369353600;  // 20130524T000000Z
        result.region = "us-east-1";
        result.headers = {{"host", "examplebucket.s3.amazonaws.com"},
                          {"x-amz-content-sha256", result.payload_sha256},
                          {"x-amz-date", "20130524T000000Z"}};
        return result;
    }
    const Credentials keys_{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
};

TEST_F(S3Example, GetObjectWithRange) {
    SigningInput get = input("/test.txt");
    get.headers.emplace_back("range", "bytes=0-9");
    EXPECT_EQ(authorization(get, keys_),
              "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
              "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
              "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3Example, PutObjectWithANameToEncode) {
    SigningInput put =
        input("/" + http::encode_uri("test$file.text", true), "Welcome to Amazon S3.");
    put.method = "PUT";
    put.headers.emplace_back("date", "Fri, 24 May 2013 00:00:00 GMT");
    put.headers.emplace_back("x-amz-storage-class", "REDUCED_REDUNDANCY");
    EXPECT_EQ(signature_of(put, keys_),
              "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(S3Example, QueryWithoutAValue) {
    SigningInput get = input("/");
    get.canonical_query = canonical_query_of({{"lifecycle", ""}});
    EXPECT_EQ(signature_of(get, keys_),
              "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(S3Example, ListObjectsWithAQueryToSort) {
    SigningInput get = input("/");
    get.canonical_query = canonical_query_of({{"prefix", "J"}, {"max-keys", "2"}});
    EXPECT_EQ(signature_of(get, keys_),
              "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/// Cases of the published Signature Version 4 test suite.
class TestSuite : public testing::Test {
protected:
    SigningInput input(const std::string& method) {
        SigningInput result;
        result.method = method;
        result.canonical_uri = "/";
        result.payload_sha256 = crypto::sha256_hex({});
        result.time = 1440938160;  // 20150830T123600Z
        result.region = "us-east-1";
        result.service = "service";
        result.headers = {{"x-amz-date", "20150830T123600Z"}, {"host", "example.amazonaws.com"}};
        return result;
    }
    const Credentials keys_{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
};

TEST_F(TestSuite, GetVanilla) {
    EXPECT_EQ(signature_of(input("GET"), keys_),
              "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST_F(TestSuite, PostVanilla) {
    EXPECT_EQ(signature_of(input("POST"), keys_),
              "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST_F(TestSuite, GetVanillaQueryOrderKeyCase) {
    SigningInput get = input("GET");
    get.canonical_query = canonical_query_of({{"Param2", "value2"}, {"Param1", "value1"}});
    EXPECT_EQ(signature_of(get, keys_),
              "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST(CanonicalQuery, EncodesWhatIsReservedAndSortsByTheEncodedKey) {
    EXPECT_EQ(canonical_query_of({{"prefix", "a/b c~d"}, {"delimiter", "/"}, {"uploads", ""}}),
              "delimiter=%2F&prefix=a%2Fb%20c~d&uploads=");
}

TEST(AmzDate, IsUtc) {
    EXPECT_EQ(amz_date(1440938160), "20150830T123600Z");
    EXPECT_EQ(amz_date(0), "19700101T000000Z");
}

}  // namespace
}  // namespace chronos::storage::s3
