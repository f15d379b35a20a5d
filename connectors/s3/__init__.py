"""S3, and servers that speak its protocol: buckets as a source of logs, as a warehouse and as a place for
reports.

`access` says how a bucket is reached, `client` what an error means, `transfer` gets and lists objects
whatever the network does, `stream` makes an object a file that can seek, `storage` is a warehouse's files in
a bucket, `find` the logs under a prefix. The client is botocore's, which boto3 hands out too; docs/decisions
says why.
"""
