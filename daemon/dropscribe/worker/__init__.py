"""The process that holds the model: from a sound file to words with times. It keeps no state and
can be killed.
"""
